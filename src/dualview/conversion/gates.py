"""Gates: what an activation multiplies its pre-activation by.

A self-gated activation is `a(q) = q * G(q)`; its gate `G` is a small pure module here. Gates work
elementwise, so pre-activations and gates have one shape, whatever it is (examples first).

Source: arXiv 2110.03403, section 2 (hard and soft gates); arXiv 2006.10529 (scaled soft gate). The
gates of the other self-gated activations follow from `G(q) = a(q) / q`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dualview.arguments import number, one_of, takes
from dualview.conversion.leaf import leaf
from dualview.errors import ConversionError, GateOrderError


class Gate(nn.Module):
    """Base class: `forward(q)` maps pre-activations to gates of the same shape.

    Attributes:
        at_zero: a(0) of the activation a(q) = a(0) + q * G(q); 0 where it is self-gated.
    """

    at_zero: float = 0.0


class HardGate(Gate):
    """`G(q) = 1{q > 0}`, the gate of ReLU. `G(0) = 0`. Its derivative is zero everywhere.

    >>> HardGate()(torch.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 1.])
    """

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        return (q > 0).to(q.dtype)


class SoftGate(Gate):
    """`G(q) = (1 + eps) * sigmoid(beta * q)`, a gate that gradient descent can learn.

    `beta=4`, `eps=0` is that of arXiv 2110.03403; `beta=4`, `eps=0.1` the decoupled learning of
    arXiv 2006.10529.

    >>> SoftGate(beta=4.0)(torch.tensor([0.0, 10.0]))
    tensor([0.5000, 1.0000])
    """

    @takes(ConversionError, beta=number(above=0), eps=number(above=-1))
    def __init__(self, beta: float = 4.0, eps: float = 0.0) -> None:
        super().__init__()
        self.beta = beta
        self.eps = eps

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        gate = torch.sigmoid(self.beta * q)
        return gate if self.eps == 0 else (1 + self.eps) * gate

    def extra_repr(self) -> str:
        """What `print` shows of it."""
        return f"beta={self.beta:g}, eps={self.eps:g}"


class LeakyGate(Gate):
    """`G(q) = slope + (1 - slope) * 1{q > 0}`, the gate of leaky ReLU."""

    @takes(ConversionError, slope=number())
    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        return torch.where(q > 0, q.new_ones(()), q.new_full((), self.slope))

    def extra_repr(self) -> str:
        """What `print` shows of it."""
        return f"slope={self.slope:g}"


class ParametricGate(Gate):
    """`G(q) = slope[c] + (1 - slope[c]) * 1{q > 0}`, the gate of PReLU; channels are axis 1.

    `slope` is the activation's own parameter, of shape (1,) or (channels,).
    """

    def __init__(self, slope: nn.Parameter) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        slope: Tensor = self.slope
        if slope.numel() > 1:
            slope = slope.view(-1, *(1,) * (q.dim() - 2))  # (channels, 1, ...)
        return torch.where(q > 0, torch.ones_like(q), slope)


class ReLU6Gate(Gate):
    """`G(q) = 0` up to 0, 1 on (0, 6), `6 / q` from 6 on: the gate of ReLU6."""

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        return (q > 0).to(q.dtype) * (6.0 / q.clamp(min=6.0))


class GELUGate(Gate):
    """`G(q) = Phi(q)`, the standard normal distribution function: the gate of GELU.

    `approximate="tanh"` is the gate of the activation's tanh approximation.
    """

    @takes(ConversionError, approximate=one_of("none", "tanh"))
    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        if self.approximate == "tanh":
            return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (q + 0.044715 * q**3)))
        return torch.special.ndtr(q)

    def extra_repr(self) -> str:
        """What `print` shows of it."""
        return f"approximate={self.approximate!r}"


class SiLUGate(Gate):
    """`G(q) = sigmoid(q)`, the gate of SiLU (swish)."""

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        return torch.sigmoid(q)


class HardswishGate(Gate):
    """`G(q) = min(max(q + 3, 0), 6) / 6`, the gate of Hardswish."""

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        # Not F.hardsigmoid, whose derivative in float64 is 1/6 rounded to float32.
        return (q + 3).clamp(0, 6) / 6


class MishGate(Gate):
    """`G(q) = tanh(softplus(q))`, the gate of Mish."""

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        return torch.tanh(F.softplus(q))


@leaf
def apply_gate(value: Tensor, gate: Tensor) -> Tensor:
    """The one multiplication that stands for an activation in a weights network.

    Raises:
        GateOrderError: the gate has another layer's shape (only the examples may broadcast).
    """
    if value.shape[1:] != gate.shape[1:]:
        raise GateOrderError(
            f"a gated layer has values of shape {tuple(value.shape[1:])} and gates of shape "
            f"{tuple(gate.shape[1:])} for each example. Repair: give gates of the layer's own shape"
        )
    return value * gate
