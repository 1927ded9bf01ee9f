"""Linear maps over positions, applied to both position axes of a kernel.

A kernel has axes (s, n1, n2, g, *p, *q): s tells the kernels that run side by side apart (the NPK,
and the NTK where it is asked for), n1 and n2 are the examples of the two sides, g the groups of
channels, and p and q the positions of the first and the second example, d axes each.

A *position map* is a function on images (n, 1, *positions) that treats every channel alike, so that
it may be applied to p with q as the batch, and then to q with p as the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

PositionMap = Callable[[Tensor], Tensor]

LEADING = 4
"""Axes of a kernel before its positions: s, n1, n2, g."""


def apply_map(kernel: Tensor, function: PositionMap, dims: int) -> Tensor:
    """`K'[p', q'] = sum_{p, q} L[p', p] L[q', q] K[p, q]` for the map L that `function` applies."""
    return _apply_to_last(_apply_to_last(kernel, function, dims), function, dims)


def _apply_to_last(kernel: Tensor, function: PositionMap, dims: int) -> Tensor:
    """Apply `function` to the last position axes, and bring the others last."""
    lead, first = kernel.shape[:LEADING], kernel.shape[LEADING : LEADING + dims]
    last = kernel.shape[LEADING + dims :]
    mapped = function(kernel.reshape(-1, 1, *last))  # (s n1 n2 g p, 1, *q')
    mapped = mapped.reshape(*lead, *first, *mapped.shape[2:])
    return swap_positions(mapped, dims)


def swap_positions(kernel: Tensor, dims: int) -> Tensor:
    """Exchange p and q."""
    axes = list(range(kernel.dim()))
    first, last = axes[LEADING : LEADING + dims], axes[LEADING + dims :]
    return kernel.permute(*axes[:LEADING], *last, *first)


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


def diagonal_sum(kernel: Tensor, dims: int) -> Tensor:
    """`sum_p K[p, p]`: what a dense layer does to a flattened image. (s, n1, n2, g)."""
    positions = 1
    for size in kernel.shape[LEADING : LEADING + dims]:
        positions *= size
    flat = kernel.reshape(*kernel.shape[:LEADING], positions, positions)
    return flat.diagonal(dim1=-2, dim2=-1).sum(-1)
