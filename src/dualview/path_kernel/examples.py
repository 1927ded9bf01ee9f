"""Are these a gated network and examples that it takes? A kernel of others would be a number still.

Examples are on axis 0. The path kernel reads gates and the graph, and never runs the weights
network: without these checks, a network would be given a kernel of images that it cannot take.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from dualview.arguments import Check, UnfitError, flag, number, one_of, require
from dualview.conversion import finite
from dualview.conversion.examples import batch, gated
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.signal_path import is_embedding
from dualview.conversion.trial_run import outputs_of_two
from dualview.errors import ExampleInputError, PathKernelError

Gates = Literal["model", "hard"]
BatchNorm = Literal["identity", "scale"]

LAW: dict[str, Check] = {
    "biases": flag,
    "bias_variance": number(least=0),
    "batch_norm": one_of(*get_args(BatchNorm)),
}
"""What the weights are drawn for: options with their checks, as `dualview.arguments` has them."""


def check_examples(
    net: GatedNetwork, gates: str, *, tried: bool = True, **examples: Tensor | None
) -> None:
    """Refuse what no kernel can be computed of.

    Args:
        net: the network.
        gates: the option of that name.
        tried: try whether the network takes the first example; else the caller finds out.
        examples: first and second examples by the caller's names; None for the second: left out.

    Raises:
        PathKernelError: no gated network, or one that is not finite or has gates that depend on
            the batch; unknown gates; or examples that are not floating-point, none, not finite, not
            alike, or that the network does not take.
    """
    require("net", net, gated, PathKernelError)
    check_computable(net)
    require("gates", gates, one_of(*get_args(Gates)), PathKernelError)
    (first, x1), *rest = examples.items()
    check = tokens if reads_tokens(net) else batch
    given: dict[str, Tensor] = {first: require(first, x1, check, PathKernelError)}
    for name, x in rest:
        if x is not None:
            given[name] = require(name, x, check, PathKernelError)
    _check_alike(given)
    if tried:
        check_fits(net, first, given[first])  # the second are like it


def tokens(value: Any) -> Tensor:
    """Examples of a network that begins at a table: whole numbers, examples on axis 0."""
    whole = isinstance(value, Tensor) and value.dtype in (torch.int32, torch.int64)
    if not whole or value.dim() < 2 or not value.numel():
        raise UnfitError("a tensor of tokens (int64) with examples on axis 0")
    return value


def reads_tokens(net: GatedNetwork) -> bool:
    """Whether the network's input goes into a table."""
    nodes = net.weights_network.graph.nodes
    found = [node for node in nodes if is_embedding(node)]
    return any(source.target == "x" for node in found for source in node.all_input_nodes)


def result_type(net: GatedNetwork, x: Tensor) -> torch.dtype:
    """The type of a kernel: that of the examples, or of the network where those are tokens."""
    if x.is_floating_point():
        return x.dtype
    return next(p.dtype for p in net.parameters() if p.is_floating_point())


def check_computable(net: GatedNetwork) -> None:
    """Refuse a network whose gates are of no meaning, or that holds NaN.

    The weights network's batch norms matter only where their scales are asked for.

    Raises:
        PathKernelError: it is not finite, or its gates depend on the batch.
    """
    finite.check_network(net, PathKernelError, statistics=False)
    finite.check_network(net.gating_network, PathKernelError)


def _check_alike(given: dict[str, Tensor]) -> None:
    """A fully convolutional network takes images of any size, a kernel only pairs of one."""
    if len(given) < 2:
        return
    (first, x1), (second, x2) = given.items()
    if (x1.shape[1:], x1.dtype, x1.device) != (x2.shape[1:], x2.dtype, x2.device):
        raise PathKernelError(f"{second}: expected {_said(x1)}, as in {first}, got {_said(x2)}")


def check_fits(net: GatedNetwork, name: str, x: Tensor) -> None:
    """Run the network on the first example.

    Raises:
        PathKernelError: it does not take it, or gives no output for each example.
    """
    repair = "Repair: examples as the model was trained on; x[None] is a batch of one example"
    types = {p.dtype for p in net.parameters() if p.is_floating_point()}
    if len(types) == 1 and x.dtype not in types:
        repair = f"Repair: {name}.to({types.pop()}), or net.to({x.dtype})"
    try:
        out = outputs_of_two(net, x)
    except ExampleInputError as error:
        raise PathKernelError(
            f"{name}: the network does not take {_said(x)} ({error}). {repair}"
        ) from error
    if not isinstance(out, Tensor):
        raise PathKernelError(
            f"net: expected one tensor as output, got {type(out).__name__}. Repair: "
            f"disentangle(..., output=...) takes one of the model's outputs"
        )
    if out.dim() == 0:  # an axis of other size is for the rules to refuse, by the operation
        raise PathKernelError(
            f"net: expected one output for each example, got a single number for two "
            f"{_said(x)}. Repair: take apart a model that does not sum over the examples"
        )


def _said(x: Tensor) -> str:
    return f"{x.dtype} examples of shape {tuple(x.shape[1:])} on {x.device}"
