"""Kernels too small or too large for their type: a power of two and a logarithm carry the size.

Kernels of deep networks fall or grow geometrically with depth. Each pair's kernel is kept near 1 on
its way, its scale beside it as a logarithm; only the last step brings the two together, and refuses
what the type cannot hold. Axes: kernel (s, n1, n2, ...), scale (n1, n2) or one number.
"""

from __future__ import annotations

import functools
import math
import operator
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dualview.errors import PathKernelError

LogScale = float | Tensor
"""Natural logarithm of what a kernel was divided by: for all pairs, or (n1, n2)."""

MOST = 700.0
"""exp of it is near the largest number of float64."""

DOUBTFUL = 1e-28
"""In float32, sums of products that stay above it lose nothing that counts to underflow."""


def balanced(kernel: Tensor, log_scale: LogScale) -> tuple[Tensor, LogScale]:
    """The kernel with the pairs that left the middle of the type's range brought back near 1.

    What is within the range stays as it is, to the bit.
    """
    if kernel.is_meta:  # its shape alone is asked for
        return kernel, log_scale
    over = tuple(axis for axis in range(kernel.dim()) if axis not in (1, 2))
    peak = torch.maximum(kernel.amax(over), -kernel.amin(over))  # (n1, n2)
    _, exponent = torch.frexp(peak.double())
    shift = torch.where(exponent.abs() > _middle(kernel.dtype), exponent, 0)
    shift = torch.where((peak > 0) & peak.isfinite(), shift, 0)
    if not shift.any():
        return kernel, log_scale
    half = torch.div(shift, 2, rounding_mode="floor")
    for part in (half, shift - half):  # 2 ** -shift may be out of range itself
        factor = torch.ldexp(torch.ones_like(peak), -part.to(peak.dtype))
        kernel = kernel * spread(factor, kernel)
    return kernel, log_scale + shift.double() * math.log(2)


def within_middle(x: Tensor) -> bool:
    """Whether every example (n, ...) that is not 0 is of a size whose products fit its type."""
    peak = x.detach().abs().flatten(1).amax(1).double()
    limit = 2.0 ** _middle(x.dtype)
    return bool(((peak == 0) | ((peak < limit) & (peak > 1 / limit))).all())


def _middle(dtype: torch.dtype) -> int:
    """Exponents that are far from under- and overflow: products of a few such numbers fit."""
    return int(math.log2(torch.finfo(dtype).max)) // 4


def spread(pairs: Tensor, kernel: Tensor) -> Tensor:
    """One number a pair (n1, n2), for all entries of a kernel (s, n1, n2, ...)."""
    return pairs.reshape(1, *pairs.shape, *(1,) * (kernel.dim() - 3)).to(kernel.dtype)


def summed(parts: Sequence[tuple[Tensor, LogScale]]) -> tuple[Tensor, LogScale]:
    """The sum of kernels, each with a scale of its own."""
    if not any(isinstance(scale, Tensor) for _, scale in parts):
        numbers = [float(scale) for _, scale in parts]
        whole: LogScale = max(numbers)
        factors: list[Any] = [math.exp(scale - whole) for scale in numbers]
    else:  # a pair's largest part decides, and not one whose kernel is 0 there
        logs = [log_size(kernel) + scale for kernel, scale in parts]
        whole = functools.reduce(torch.maximum, logs)
        whole = torch.where(whole.isfinite(), whole, 0)
        exact = [
            torch.where(log > -math.inf, (scale - whole).clamp(-MOST, MOST).exp(), 0)
            for log, (_, scale) in zip(logs, parts, strict=True)
        ]
        factors = [spread(f, kernel) for f, (kernel, _) in zip(exact, parts, strict=True)]
    scaled = [
        kernel if isinstance(factor, float) and factor == 1 else kernel * factor
        for factor, (kernel, _) in zip(factors, parts, strict=True)
    ]
    return functools.reduce(operator.add, scaled), whole


def log_size(kernel: Tensor) -> Tensor:
    """Logarithm of each pair's largest number (n1, n2), -inf where all are 0."""
    over = tuple(axis for axis in range(kernel.dim()) if axis not in (1, 2))
    return kernel.abs().amax(over).double().log()


@dataclass(frozen=True)
class Reader:
    """Brings kernels and their scales together, and refuses what the type cannot hold.

    Attributes:
        dtype: of the result.
        smaller: repair where the result is too large.
        larger: repair where it is too small.
    """

    dtype: torch.dtype
    smaller: str
    larger: str

    def __call__(
        self, kernel: Tensor, log_scale: LogScale, rows: Sequence[int], columns: Sequence[int]
    ) -> Tensor:
        """The kernel (n1, n2) times exp(log_scale), of the examples of these numbers.

        Raises:
            PathKernelError: a value is not 0, and too small or too large for the type.
        """
        size = kernel.abs().double()
        logs = size.log() + log_scale  # -inf where it is exactly 0
        info = torch.finfo(self.dtype)
        at = (rows, columns)
        self._refuse(~(logs <= math.log(info.max)), logs, at, self.smaller)  # NaN too
        self._refuse((size > 0) & (logs < math.log(info.tiny)), logs, at, self.larger)
        # In halves: exp of the whole may be out of the range of float64.
        half = torch.as_tensor(log_scale, dtype=torch.float64, device=kernel.device) / 2
        factor = half.clamp(-MOST, MOST).exp()
        return (kernel.double() * factor * factor).to(self.dtype)

    def _refuse(
        self, wrong: Tensor, logs: Tensor, at: tuple[Sequence[int], Sequence[int]], repair: str
    ) -> None:
        if not wrong.any():
            return
        i, j = wrong.nonzero()[0].tolist()
        what = f"the kernel of x1[{at[0][i]}] and x2[{at[1][j]}]"
        raise out_of_range(what, float(logs[i, j]), self.dtype, repair)


def out_of_range(what: str, log: float, dtype: torch.dtype, repair: str = "") -> PathKernelError:
    """The error for a number that is not 0 and that a type does not hold; `log`: its logarithm."""
    decade = log / math.log(10)
    size = f"about 1e{decade:.0f}" if math.isfinite(decade) else "more on the way"
    info = torch.finfo(dtype)
    double = dtype != torch.float64 and abs(decade) < math.log10(sys.float_info.max)
    repairs = [repair, "net.double() and x.double()" if double else ""]
    return PathKernelError(
        f"{what}: expected 0 or a number from {info.tiny:.1e} to {info.max:.1e}, which "
        f"{str(dtype).removeprefix('torch.')} holds, got {size}. Repair: "
        f"{', or '.join(part for part in repairs if part) or 'examples of another size'}"
    )


def lost_rows(rows: Tensor) -> Tensor:
    """Rows (n, numbers), as (n,), that are 0, too small or too large for all to be right."""
    peak = rows.abs().amax(1)
    info = torch.finfo(rows.dtype)
    return ~((peak > info.tiny / info.eps) & (peak < info.max * info.eps))
