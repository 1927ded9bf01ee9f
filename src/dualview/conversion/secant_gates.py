"""Gates of activations that are not the input times something: their secant slopes.

Any activation with a finite slope at 0 is `a(q) = a(0) + q * G(q)` with the secant slope
`G(q) = (a(q) - a(0)) / q` and `G(0) = a'(0)`: a bias path of value `a(0)`, and a gate. The gate of
such an activation is not confined to [0, 1]; each is computed so that no digits are lost near 0.

Source: theory, section 7; the formulas are identities of calculus.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dualview.conversion.gates import Gate


def _divided(numerator: Tensor, q: Tensor, *series: float) -> Tensor:
    """`numerator / q`; near 0 its power series, whose next term is below rounding.

    Dividing there would leave the value right and its derivative without correct digits.
    """
    near = q.abs() < torch.finfo(q.dtype).eps ** 0.25
    close = torch.where(near, q, torch.zeros_like(q))
    value = torch.full_like(q, series[-1])
    for coefficient in reversed(series[:-1]):
        value = value * close + coefficient
    return torch.where(near, value, numerator / torch.where(near, torch.ones_like(q), q))


def _over(numerator: Tensor | float, q: Tensor, where: Tensor) -> Tensor:
    """`numerator / q` where `where` holds, which keeps away from 0; 0 elsewhere."""
    ratio = numerator / torch.where(where, q, torch.ones_like(q))
    return torch.where(where, ratio, torch.zeros_like(q))


class ELUGate(Gate):
    """Gate of `scale * (q if q > 0 else alpha * expm1(q / width))`: ELU, SELU and CELU.

    At 0 it is the slope from the left, as PyTorch's derivative is.
    """

    def __init__(self, alpha: float = 1.0, scale: float = 1.0, width: float = 1.0) -> None:
        super().__init__()
        self.alpha, self.scale, self.width = float(alpha), float(scale), float(width)

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        below = q.clamp(max=0.0) / self.width
        gate = _divided(torch.expm1(below), below, 1.0, 1 / 2, 1 / 6, 1 / 24)
        gate = self.alpha / self.width * gate
        return self.scale * torch.where(q > 0, torch.ones_like(q), gate)


class SoftplusGate(Gate):
    """Gate of softplus, `log(1 + exp(beta q)) / beta`, and of log-sigmoid, `-softplus(-q)`.

    With t = beta q: log(1 + exp(t)) - log 2 = t / 2 + log cosh(t / 2). Above `threshold` PyTorch's
    softplus is q itself.
    """

    def __init__(
        self, beta: float = 1.0, threshold: float = 20.0, *, mirrored: bool = False
    ) -> None:
        super().__init__()
        self.beta, self.threshold, self.mirrored = float(beta), float(threshold), mirrored
        self.at_zero = (-1 if mirrored else 1) * math.log(2) / self.beta

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        t = self.beta * (-q if self.mirrored else q)
        gate = 0.5 + _divided(_log_cosh(t / 2), t, 0.0, 1 / 8, 0.0, -1 / 192)
        if self.mirrored:
            return gate
        far = t.clamp(min=max(self.threshold, 1e-3))
        linear = (far - math.log(2)) / far
        return torch.where(t > self.threshold, linear, gate)


def _log_cosh(y: Tensor) -> Tensor:
    """Log cosh(y), to full precision near 0 and without overflow far from it."""
    near = y.clamp(-1, 1)
    small = torch.log1p(2 * torch.sinh(near / 2) ** 2)
    size = y.abs()
    large = size - math.log(2) + torch.log1p(torch.exp(-2 * size))
    return torch.where(size < 1, small, large)


class TanhGate(Gate):
    """Gate of tanh: `tanh(q) / q`."""

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        return _divided(torch.tanh(q), q, 1.0, 0.0, -1 / 3)


class SigmoidGate(Gate):
    """Gate of the sigmoid: `tanh(q / 2) / (2 q)`; the sigmoid of 0 is 1/2."""

    at_zero = 0.5

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        return _divided(torch.tanh(q / 2) / 2, q, 1 / 4, 0.0, -1 / 48)


class SoftsignGate(Gate):
    """Gate of softsign: `1 / (1 + |q|)`."""

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        return 1 / (1 + q.abs())


class ClipGate(Gate):
    """Gate of a clip to [low, high]: hardtanh, clamp. A bound may be missing.

    Where 0 is a corner the gate at 0 is 0, as ReLU's is.
    """

    def __init__(self, low: float | None = -1.0, high: float | None = 1.0) -> None:
        super().__init__()
        self.low = -math.inf if low is None else float(low)
        self.high = math.inf if high is None else float(high)
        self.at_zero = min(max(0.0, self.low), self.high)

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        zero, between = self.at_zero, (q > self.low) & (q < self.high)
        gate = between.to(q.dtype) if zero == 0 else _over(q - zero, q, between)
        for corner, beyond in ((self.low, q <= self.low), (self.high, q >= self.high)):
            if corner != zero and math.isfinite(corner):
                gate = gate + _over(corner - zero, q, beyond)
        return gate


class HardsigmoidGate(Gate):
    """Gate of hardsigmoid, `clip(q / 6 + 1 / 2, 0, 1)`."""

    at_zero = 0.5

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        far = _over(0.5, q.abs(), q.abs() >= 3)
        return torch.where(q.abs() < 3, torch.full_like(q, 1 / 6), far)


class SoftshrinkGate(Gate):
    """Gate of softshrink: `max(1 - width / |q|, 0)`."""

    def __init__(self, width: float = 0.5) -> None:
        super().__init__()
        self.width = float(width)

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        kept = q.abs() > self.width
        size = torch.where(kept, q.abs(), torch.ones_like(q))
        return torch.where(kept, 1 - self.width / size, torch.zeros_like(q))


class HardshrinkGate(Gate):
    """Gate of hardshrink: `1{|q| > width}`."""

    def __init__(self, width: float = 0.5) -> None:
        super().__init__()
        self.width = float(width)

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        return (q.abs() > self.width).to(q.dtype)


class TanhshrinkGate(Gate):
    """Gate of tanhshrink: `1 - tanh(q) / q`."""

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        return 1 - _divided(torch.tanh(q), q, 1.0, 0.0, -1 / 3)


class ThresholdGate(Gate):
    """Gate of `q if q > threshold else value`; `threshold` is not 0 unless `value` is."""

    def __init__(self, threshold: float, value: float) -> None:
        super().__init__()
        if threshold == 0 and value != 0:
            raise ValueError("it jumps at 0, where it has no slope")
        self.threshold, self.value = float(threshold), float(value)
        self.at_zero = 0.0 if self.threshold < 0 else self.value

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        above, zero = q > self.threshold, self.at_zero
        gate = above.to(q.dtype) if zero == 0 else _over(q - zero, q, above)
        return gate if self.value == zero else gate + _over(self.value - zero, q, ~above)


class PowerGate(Gate):
    """Gate of `q ** exponent`, from exponent 1 on: `q ** (exponent - 1)`.

    Raises:
        ValueError: the exponent is no number from 1 on; below 1 the slope at 0 is infinite.
    """

    def __init__(self, exponent: float) -> None:
        super().__init__()
        if isinstance(exponent, Tensor) or not exponent >= 1:
            raise ValueError("its exponent is no number from 1 on")
        self.exponent = exponent

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        return torch.pow(q, self.exponent - 1)


class FunctionGate(Gate):
    """Gate of a function of one number that PyTorch has: exp, sin, square, erf, atan, ...

    Attributes:
        name: of the function.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.at_zero = {"exp": 1.0, "cos": 1.0, "cosh": 1.0}.get(name, 0.0)

    def forward(self, q: Tensor) -> Tensor:
        """Gates of `q`, elementwise."""
        return _FUNCTIONS[self.name](q)

    def extra_repr(self) -> str:
        """What `print` shows of it."""
        return self.name


_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.sign,
    "atan": lambda q: _divided(torch.atan(q), q, 1.0, 0.0, -1 / 3),
    "cos": lambda q: _divided(-2 * torch.sin(q / 2) ** 2, q, 0.0, -1 / 2, 0.0, 1 / 24),
    "cosh": lambda q: _divided(2 * torch.sinh(q / 2) ** 2, q, 0.0, 1 / 2, 0.0, 1 / 24),
    "erf": lambda q: (
        (2 / math.sqrt(math.pi))
        * _divided(torch.erf(q) * (math.sqrt(math.pi) / 2), q, 1.0, 0.0, -1 / 3)
    ),
    "exp": lambda q: _divided(torch.expm1(q), q, 1.0, 1 / 2, 1 / 6, 1 / 24),
    "expm1": lambda q: _divided(torch.expm1(q), q, 1.0, 1 / 2, 1 / 6, 1 / 24),
    "log1p": lambda q: _divided(torch.log1p(q), q, 1.0, -1 / 2, 1 / 3, -1 / 4),
    "sin": lambda q: _divided(torch.sin(q), q, 1.0, 0.0, -1 / 6),
    "sinh": lambda q: _divided(torch.sinh(q), q, 1.0, 0.0, 1 / 6),
    "square": lambda q: q,
    "tan": lambda q: _divided(torch.tan(q), q, 1.0, 0.0, 1 / 3),
}
FUNCTION_NAMES = tuple(_FUNCTIONS)
"""The functions of `torch` that `FunctionGate` knows."""
