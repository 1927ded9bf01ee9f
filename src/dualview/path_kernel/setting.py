"""What a rule is given: both sides of a tensor, and what the weights are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from torch import Tensor, fx

from dualview.conversion.normal_form import Call
from dualview.conversion.source_lines import describe
from dualview.errors import PathKernelError


@dataclass(frozen=True)
class Pair:
    """A tensor of each side: the first examples' and the second examples' (examples first)."""

    left: Tensor
    right: Tensor


@dataclass(frozen=True)
class Setting:
    """What the weights are drawn from, and what is asked for.

    Attributes:
        variances: weight layer's node name -> variance of its weights; None: 1 / fan-in.
        bias_variance: variance of the biases; None leaves biases out.
        batch_norm_scale: multiply by batch norm's gamma / sqrt(variance + eps)?
        ntk: carry the expected NTK beside the NPK?
    """

    variances: Mapping[str, float] | None = None
    bias_variance: float | None = None
    batch_norm_scale: bool = False
    ntk: bool = False

    @classmethod
    def of(
        cls,
        biases: bool,
        bias_variance: float,
        batch_norm: str,
        variances: Mapping[str, float] | None = None,
        *,
        ntk: bool = False,
    ) -> Setting:
        """From the options of the public functions."""
        variance = float(bias_variance) if biases else None
        return cls(variances, variance, batch_norm == "scale", ntk)

    @property
    def biases(self) -> bool:
        """Whether there are biases (of variance 0 too: the NTK is differentiated by them)."""
        return self.bias_variance is not None


Rule = Callable[[fx.Node, Call, Setting], Any]
"""Takes the node, its call (a `Value` for a tensor that depends on the weights, a `Pair` for one
that depends on the example alone, plain values and tensors elsewhere) and the setting."""


def refuse(node: fx.Node, reason: str) -> NoReturn:
    """Raise the error for an operation without an exact rule here."""
    raise PathKernelError(
        f"{describe(node)}: {reason}, so the path kernel has no exact rule for it. Repair: "
        f"estimate the kernel with dualview.npk_features, which works for any graph"
    )
