"""Gradients of logits by the weights of a weights network, gates held: what NTKs are made of.

One row an example: (n, number of weights), parameters one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from dualview.arguments import UnfitError, whole
from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import PathKernelError
from dualview.path_kernel.parameters import roles
from dualview.path_kernel.propagate import Side

Logit = Callable[[Tensor], Tensor]
"""The logits of one example (logits,) -> the number that is differentiated."""

Output = int | Literal["sum"]
"""The number of a logit; or the sum of all, divided by the root of their number."""


def output_choice(value: Any) -> Output:
    """A check of `dualview.arguments`: the number of a logit, or "sum"."""
    if isinstance(value, str):
        if value == "sum":
            return "sum"
        raise UnfitError("the number of a logit, or 'sum'")
    return whole(0)(value)


def logit_of(output: Output) -> Logit:
    """What is differentiated."""
    if output != "sum":
        return itemgetter(output)

    def mixed(logits: Tensor) -> Tensor:
        return logits.sum() / math.sqrt(len(logits))

    return mixed


def counted_parameters(
    network: nn.Module, weights: Mapping[str, Tensor], biases: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """All parameters, those of `weights` in place of its own; and the ones differentiated by.

    Raises:
        PathKernelError: there are none to differentiate by.
    """
    role = roles(network)
    counted = {"weight", "bias"} if biases else {"weight"}
    taken = {"constant", *counted}  # of `weights`: biases that are left out stay so
    parameters = {
        name: (weights.get(name, own) if role[name] in taken else own).detach()
        for name, own in network.named_parameters()
    }
    wanted = {name: value for name, value in parameters.items() if role[name] in counted}
    if not any(value.numel() for value in wanted.values()):
        raise PathKernelError(
            "net: expected a weights network with weights to differentiate by, got none"
        )
    return parameters, wanted


def gradients(
    network: nn.Module,
    parameters: dict[str, Tensor],
    wanted: dict[str, Tensor],
    examples: Side,
    logit: Logit,
) -> Tensor:
    """Gradients of the logit, one row per example: (n, number of weights).

    Raises:
        PathKernelError: gates do not have the examples on axis 0.
    """

    def of_one(by: dict[str, Tensor], *inputs: Tensor) -> Tensor:
        row = [value.unsqueeze(0) for value in inputs]
        logits = functional_call(network, {**parameters, **by}, tuple(row))[0]
        return logit(logits.reshape(-1))  # an output (n,) is of one logit

    inputs = [value.detach() for value in examples.inputs]
    folded = next((tuple(v.shape) for v in inputs if len(v) != len(examples.x)), None)
    if folded is not None:
        raise PathKernelError(
            f"net: expected gates with the {len(examples.x)} examples on axis 0, got shape "
            f"{folded}: the model folds another axis into that of the examples, so that their "
            f"gradients cannot be told apart. Repair: keep the axis of examples "
            f"(h.flatten(2), not h.view(-1, ...)), or dualview.npk_features"
        )
    found = vmap(grad(of_one), (None, *[0] * len(inputs)))(wanted, *inputs)
    return torch.cat([g.flatten(1) for g in found.values()], 1)


def check_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Refuse weights of another network.

    Raises:
        PathKernelError: a name, a shape or a number is not right.
    """
    shapes = {name: p.shape for name, p in network.named_parameters(remove_duplicate=False)}
    for name, value in weights.items():
        if name not in shapes:
            raise PathKernelError(
                f"weights: expected parameters of the weights network by name, got {name!r}. "
                f"Repair: dict(net.weights_network.named_parameters()) lists them"
            )
        if value.shape != shapes[name]:
            raise PathKernelError(
                f"weights: expected {name!r} of shape {tuple(shapes[name])}, got "
                f"{tuple(value.shape)}"
            )
        if not value.isfinite().all():
            raise PathKernelError(f"weights: expected finite numbers in {name!r}, got NaN or inf")


def check_output(net: GatedNetwork, x: Tensor, output: Output = "sum") -> int:
    """The number of logits, if the output asked for is among them.

    Raises:
        PathKernelError: the network has no such logit, or outputs that are no logits.
    """
    with torch.no_grad():
        shape = net(x[:1]).shape
    if len(shape) == 1:
        shape = (*shape, 1)
    if len(shape) != 2 or (output != "sum" and not 0 <= output < shape[1]):
        raise PathKernelError(
            f"output: expected a logit of a network whose output is (n,) or (n, logits), got "
            f"{output} and an output of shape {tuple(shape)}"
        )
    return int(shape[1])
