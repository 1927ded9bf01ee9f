"""One example as its weights network sees it: input, gates and switches fixed, all in float64.

The gates are those that the network itself computes, in its own type and in evaluation mode; what
they multiply is computed in float64 on the CPU, so that parts sum to their whole to rounding.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from dualview.arguments import UnfitError, require, whole
from dualview.conversion.copying import copied
from dualview.conversion.example_size import RUN_BELOW, ExampleSize, example_size
from dualview.conversion.examples import example, gated
from dualview.conversion.finite import check_network, preactivation_check
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.modes import evaluation_mode
from dualview.conversion.operations import BATCH_NORM_MODULES
from dualview.conversion.shape_run import ShapeRun, call_on_meta
from dualview.conversion.source_lines import describe, module_of
from dualview.conversion.weights_graph import one_row_of_ones
from dualview.errors import PathKernelError, UnsupportedOperationError


@dataclass(frozen=True)
class OneExample:
    """A weights network and all that it takes for one example (axis 0 has length 1).

    Attributes:
        network: a private copy: float64, CPU, evaluation mode, no gradients for its parameters; or
            the network itself, to be read at once (`one_example(..., in_place=True)`).
        x: the example (1, ...), after the network's input transform.
        given: gates (of the network's own type), max-pool switches and multipliers, as the
            network's placeholders take them.
        ones: whether the weights network reads the constant 1 in place of x.
    """

    network: fx.GraphModule
    x: Tensor
    given: tuple[Tensor, ...]
    ones: bool

    @property
    def arguments(self) -> tuple[Tensor, ...]:
        """The network's arguments, in order."""
        return (self.x, *self.given)

    @property
    def input_node(self) -> fx.Node:
        """The node whose value is the input: x, or the ones that take its place."""
        nodes = list(self.network.graph.nodes)
        ones = [node for node in nodes if node.target is one_row_of_ones]
        return ones[0] if self.ones and ones else next(n for n in nodes if n.target == "x")


def one_example(
    net: GatedNetwork,
    x: Tensor,
    *,
    in_place: bool = False,
    allowed: Callable[[ExampleSize], None] | None = None,
) -> OneExample:
    """Fix the gates of `net` at one example.

    Args:
        net: a gated network; its mode does not matter and comes back.
        x: one example, (1, ...), or (...) as one entry of a batch. Where the network takes both
            readings, the first is meant.
        in_place: the network's own numbers, of their type, and no copy where it is on the CPU in
            evaluation mode: for what is done at once, and takes them in float64 as it needs them.
        allowed: is called with the example's size before anything is computed, and may refuse it.

    Raises:
        PathKernelError: not a gated network, one whose parameters are not finite, or not one finite
            example that it takes without overflow.
        UnsupportedOperationError: a batch norm without running statistics.
    """
    require("net", net, gated, PathKernelError)
    refuse_batch_statistics(net.gating_network)
    refuse_batch_statistics(net.weights_network)
    check_network(net, PathKernelError)
    require("x", x, example, PathKernelError)
    as_it_stands = in_place and _is_ready(net.weights_network)
    # Tensors made in the caller's inference mode could not take part in derivatives later.
    with torch.inference_mode(False), evaluation_mode(net), torch.no_grad():
        batch = _as_batch(net, x.detach().clone().to(next(net.parameters(), x)))
        if allowed is not None:
            allowed(example_size(net, batch))
        given = net.gates_and_switches(batch, check=preactivation_check("x", PathKernelError))
        network = net.weights_network
        if not as_it_stands:
            network = _copy(network, exact=not in_place).eval()
        gates = [gate.cpu() for gate in given[0]]  # times float64 they are float64
        switches = [s.cpu().double() if s.is_floating_point() else s.cpu() for s in given[1]]
        x = copy.deepcopy(net.input_transform or nn.Identity()).cpu().double()(batch.cpu().double())
    return OneExample(network, x, (*gates, *switches), net.weights_input == "ones")


def _is_ready(network: fx.GraphModule) -> bool:
    """Whether it is on the CPU and in evaluation mode."""
    on_cpu = all(t.device.type == "cpu" for t in (*network.parameters(), *network.buffers()))
    return on_cpu and not any(module.training for module in network.modules())


def _copy(network: fx.GraphModule, *, exact: bool) -> fx.GraphModule:
    """A copy on the CPU, without gradients: in float64, or sharing the network's own numbers."""
    memo: dict[int, Any] = {}
    for tensor in (*network.parameters(), *network.buffers()):
        kind = torch.float64 if exact and tensor.is_floating_point() else tensor.dtype
        held = tensor.detach().to("cpu", kind, copy=exact)
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(held, requires_grad=False) if is_parameter else held
    return copied(network, memo)


def _as_batch(net: GatedNetwork, x: Tensor) -> Tensor:
    """The example with an axis of examples in front, whichever of the two ways it was given."""
    problem = _problem(net, x) if x.dim() > 1 else ""
    if x.dim() > 1 and not problem:
        if len(x) == 1:
            return x
        problem = f"it is a batch of {len(x)}"
    elif not (other := _problem(net, x.unsqueeze(0))):
        return x.unsqueeze(0)
    else:
        problem = problem or other
    raise PathKernelError(
        f"x: expected one example that the network takes, got shape {tuple(x.shape)}: {problem}. "
        f"Repair: pass x[i:i + 1] of a batch, an explanation is of one example"
    )


def _problem(net: GatedNetwork, batch: Tensor) -> str:
    """Why `batch` is no batch of examples; a convolution would take it for one with channels."""
    for examples in (batch, torch.cat([batch, batch])):  # a lone one may pass by accident
        try:
            values = _preactivations(net, examples)
        except Exception as error:  # whatever an operation raises for a shape that it cannot take
            return str(error)
        wrong = [tuple(value.shape) for value in values if len(value) != len(examples)]
        if wrong:
            return f"pre-activations of shape {wrong[0]} for {len(examples)} example(s)"
    return ""


def _preactivations(net: GatedNetwork, examples: Tensor) -> Sequence[Tensor]:
    """Of large examples their shapes alone, where these can be told without numbers."""
    values: Sequence[Tensor] | None = None
    if examples.numel() >= RUN_BELOW:
        transform = net.input_transform
        # An operation without shapes of its own fails, or one that does not take these.
        with contextlib.suppress(Exception):
            inputs = examples if transform is None else call_on_meta(transform, (examples,), {})
            values = ShapeRun(net.gating_network).run(inputs)
    if values is None:
        with torch.no_grad():  # not called as a module: torch.fx would print where it fails
            values = net.gating_network.forward(net.transformed(examples))
    return values[: net.n_gates]


def refuse_batch_statistics(network: fx.GraphModule) -> None:
    """Raise if a batch norm would use the statistics of the batch in evaluation mode too."""
    for node in network.graph.nodes:
        module: Any = module_of(node) if node.op == "call_module" else None
        if isinstance(module, BATCH_NORM_MODULES) and module.running_var is None:
            raise UnsupportedOperationError(
                f"{describe(node)}: its statistics are those of the batch, also in evaluation "
                f"mode, so it is no fixed affine map. Repair: track_running_stats=True"
            )


def checked_output(output: int, shape: Sequence[int], name: str = "output") -> int:
    """The argument called `name` as an int, if it is a flat position in outputs (1, ...).

    Raises:
        PathKernelError: otherwise.
    """
    count = math.prod(shape)

    def check(value: Any) -> int:
        try:
            return whole(0, count - 1)(value)
        except UnfitError as unfit:
            of = f"the network's output of one example has shape {tuple(shape[1:])}, counted flat"
            raise UnfitError(f"{unfit.expected} ({of})") from None

    return require(name, output, check, PathKernelError)


def checked_against(against: int, output: int, shape: Sequence[int]) -> int:
    """The output to subtract from another one, as `checked_output` takes it.

    Raises:
        PathKernelError: there is none there, or it is the same.
    """
    other = checked_output(against, shape, "against")
    if other == output:
        raise PathKernelError(
            f"against: expected another output than {output}, got the same. Repair: "
            f"against=None, for the output itself"
        )
    return other


def output_node(network: fx.GraphModule) -> fx.Node:
    """The node that the network returns.

    Raises:
        PathKernelError: it returns several.
    """
    result = next(node for node in network.graph.nodes if node.op == "output").args[0]
    if not isinstance(result, fx.Node):
        raise PathKernelError(
            "the network's output: expected one tensor, got several. Repair: wrap the model in a "
            "module that returns one of them, the logits"
        )
    return result
