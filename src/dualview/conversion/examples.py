"""Checks of a gated network and of examples, as `dualview.arguments` has them for plain values.

Examples are on axis 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dualview.arguments import UnfitError
from dualview.conversion.finite import first_wrong
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.modes import evaluation_mode
from dualview.errors import DualviewError, ExampleInputError

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types that networks compute in. There are smaller ones, which hardly any operation takes."""

NORMALISED = "torch.as_tensor(x).float() of NumPy or whole numbers, normalised as for training"


def gated(value: Any) -> GatedNetwork:
    """A network that was taken apart."""
    if not isinstance(value, GatedNetwork):
        module = isinstance(value, nn.Module)
        raise UnfitError(
            "a GatedNetwork",
            f"dualview.disentangle({'model' if module else 'a torch.nn.Module'}, kind='dlgn')",
            type(value).__name__ if module else "",
        )
    return value


def batch(value: Any) -> Tensor:
    """Examples: a tensor of finite floating-point numbers with at least one on axis 0."""
    return _finite(value, "a floating-point tensor with examples on axis 0", 2)


def example(value: Any) -> Tensor:
    """One example, with or without the axis of examples: finite floating-point numbers."""
    return _finite(value, "one example as a floating-point tensor", 1)


def _finite(value: Any, wanted: str, axes: int) -> Tensor:
    """A tensor of finite floating-point numbers, one at least, with so many axes or more."""
    if not is_floating(value) or value.dim() < axes or not value.numel():
        raise UnfitError(wanted, NORMALISED)
    if value.is_meta:
        raise UnfitError(wanted, got="a meta tensor, which holds no numbers")
    bad = first_wrong(value if value.dim() > 1 else value[None])
    if bad is not None:
        raise UnfitError("finite values", got=f"NaN or inf in row {bad}")
    return value


def check_takes(net: GatedNetwork, name: str, x: Tensor, error: type[DualviewError]) -> None:
    """Run the gating network on two copies of the first example.

    Raises:
        DualviewError: of the class given; the network does not take it.
    """
    try:
        with evaluation_mode(net), torch.no_grad():  # two, as a batch of one may pass by accident
            values = net.preactivations(x[:1].expand(2, *x.shape[1:]))
    except ExampleInputError as problem:
        reason = str(problem)
    else:
        wrong = [tuple(q.shape) for q in values if len(q) != 2]
        reason = f"pre-activations of shape {wrong[0]} for two examples" if wrong else ""
    if reason:
        raise error(
            f"{name}: expected examples that the network takes, got {x.dtype} of shape "
            f"{tuple(x.shape[1:])} on {x.device} ({reason}). Repair: examples as the model was "
            f"trained on; x[None] is a batch of one example"
        )


def is_floating(value: Any) -> bool:
    """Whether it is a tensor as networks compute with them: floating-point, dense."""
    return (
        isinstance(value, Tensor)
        and value.dtype in FLOATING
        and value.layout == torch.strided
        and not value.is_nested
    )
