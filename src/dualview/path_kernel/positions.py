"""Linear maps over positions, applied to both position axes of a kernel.

A kernel has axes (s, n1, n2, g, *p, *q): s tells the kernels that run side by side apart (the NPK,
and the NTK where it is asked for), n1 and n2 are the examples of the two sides, g the groups of
channels, and p and q the positions of the first and the second example, d axes each.

A *map* is a function on arrays (k, *positions) that treats every row alike, so that it may be
applied to p with q as the batch, and then to q with p as the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

ArrayMap = Callable[[Tensor], Tensor]
"""(k, *positions) -> (k, *new positions), every row alike."""

LEADING = 4
"""Axes of a kernel before its positions: s, n1, n2, g."""


def apply_map(kernel: Tensor, function: ArrayMap, dims: int) -> Tensor:
    """`K'[p', q'] = sum_{p, q} L[p', p] L[q', q] K[p, q]` for the map L that `function` applies."""
    once = apply_to_right(kernel, function, dims)
    new = once.dim() - LEADING - dims
    return swap_positions(apply_to_right(swap_positions(once, dims), function, new), new)


def apply_to_right(kernel: Tensor, function: ArrayMap, left: int) -> Tensor:
    """Apply `function` to the positions behind the first `left` ones."""
    head, last = kernel.shape[: LEADING + left], kernel.shape[LEADING + left :]
    mapped = function(kernel.reshape(-1, *last))  # (s n1 n2 g p, *q')
    return mapped.reshape(*head, *mapped.shape[1:])


def apply_to_left(kernel: Tensor, function: ArrayMap, left: int) -> Tensor:
    """Apply `function` to the first `left` positions."""
    right = kernel.dim() - LEADING - left
    return swap_positions(apply_to_right(swap_positions(kernel, left), function, right), right)


def swap_positions(kernel: Tensor, first: int) -> Tensor:
    """Exchange the first so many positions and the rest."""
    axes = list(range(kernel.dim()))
    p, q = axes[LEADING : LEADING + first], axes[LEADING + first :]
    return kernel.permute(*axes[:LEADING], *q, *p)


def window_sum(
    kernel: Tensor, sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Tensor:
    """`K'[p, q] = sum_delta K[s p + delta, s q + delta]` over the offsets of a window.

    This is what a convolution with independent weights of unit variance does to a covariance. The
    window is a product of intervals, so the sum runs over one axis after the other.
    """
    dims = len(sizes)
    for axis in range(dims):
        p, q = LEADING + axis, LEADING + dims + axis
        kernel = _interval_sum(kernel, p, q, sizes[axis], strides[axis], dilations[axis])
    return kernel


def _interval_sum(kernel: Tensor, p: int, q: int, size: int, stride: int, dilation: int) -> Tensor:
    """The kernel summed over windows along axes p and q together."""
    count = [(kernel.shape[axis] - dilation * (size - 1) - 1) // stride + 1 for axis in (p, q)]

    def shifted(delta: int) -> Tensor:
        part = kernel
        for axis, n in zip((p, q), count, strict=True):
            part = part.narrow(axis, delta * dilation, (n - 1) * stride + 1)
            if stride > 1:
                index = [slice(None)] * part.dim()
                index[axis] = slice(None, None, stride)
                part = part[tuple(index)]
        return part

    if size == 1:
        return shifted(0)
    total = shifted(0) + shifted(1)
    for delta in range(2, size):
        total += shifted(delta)
    return total
