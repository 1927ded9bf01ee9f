"""Linear maps over positions as tables: which old positions make a new one, with which weights.

Pooling, padding, slices, interpolation and the windows of convolutions act on the rows and on the
columns of an image apart, so two short tables describe them, whatever the image's size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dualview.path_kernel.fast.offset_program import Size
from dualview.path_kernel.fast.plan import NotApplicableError

ImageMap = Callable[[Tensor], Tensor]

NONE = -1
"""Source of a tap that reads nothing: the padding."""


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis: `source` (new, taps), positions or `NONE`, and `weight` (new, taps)."""

    source: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.source)

    @property
    def taps(self) -> int:
        """How many old positions make a new one, at most."""
        return int(self.source.shape[1])

    @cached_property
    def steps(self) -> list[int | None] | None:
        """How far each tap is from where it is seen; None in it: it reads nothing.

        None altogether where it is not equally far everywhere.
        """
        steps: list[int | None] = []
        for tap in self.source.T:
            inside = np.flatnonzero(tap != NONE)
            far = tap[inside] - inside
            if inside.size and (far != far[0]).any():
                return None
            steps.append(int(far[0]) if inside.size else None)
        return steps

    def after(self, first: Axis) -> Axis:
        """The axis of both maps, `first` and then this one."""
        inside = self.source != NONE
        at = np.where(inside, self.source, 0)
        source = np.where(inside[..., None], first.source[at], NONE)
        weight = np.where(inside[..., None], self.weight[..., None] * first.weight[at], 0.0)
        return Axis(source.reshape(len(self), -1), weight.reshape(len(self), -1))


@dataclass(frozen=True, eq=False)
class PositionMap:
    """A map of images of size `before`: its rows and its columns."""

    rows: Axis
    columns: Axis
    before: Size

    @property
    def size(self) -> Size:
        """Height and width of the new image."""
        return len(self.rows), len(self.columns)

    @property
    def taps(self) -> int:
        """Old positions that make a new one, at most."""
        return self.rows.taps * self.columns.taps

    def after(self, first: PositionMap | None) -> PositionMap:
        """Both maps, `first` (None: none) and then this one."""
        if first is None:
            return self
        rows, columns = self.rows.after(first.rows), self.columns.after(first.columns)
        return PositionMap(rows, columns, first.before)

    @property
    def selects(self) -> bool:
        """Whether every new position copies an old one, or is 0."""
        return self.taps == 1 and self.plain

    @property
    def plain(self) -> bool:
        """Whether all weights are 0 or 1."""
        weights = np.concatenate([self.rows.weight, self.columns.weight], axis=None)
        return bool(np.isin(weights, (0, 1)).all())

    @cached_property
    def shifts(self) -> np.ndarray | None:
        """How far each tap is from where it is seen, in flat positions; 0: it reads nothing.

        None where it is not equally far everywhere.
        """
        down, across = self.rows.steps, self.columns.steps
        if down is None or across is None or self.size != self.before:
            return None
        far = [(y or 0) * self.size[1] + (x or 0) for y in down for x in across]
        return np.array(far, np.int64)

    @cached_property
    def flat(self) -> tuple[np.ndarray, np.ndarray]:
        """Sources and weights (new positions, taps), over flat positions."""
        y, x = self.rows.source, self.columns.source
        inside = (y[:, None, :, None] != NONE) & (x[None, :, None, :] != NONE)
        places = y[:, None, :, None] * self.before[1] + x[None, :, None, :]
        weights = self.rows.weight[:, None, :, None] * self.columns.weight[None, :, None, :]
        shape = len(y) * len(x), self.taps
        source = np.where(inside, places, NONE).reshape(shape)
        return source, np.where(inside, weights, 0.0).reshape(shape)


def window(
    size: Size, kernel: Size, stride: Size, dilation: Size, padding: tuple[int, ...], mode: str
) -> PositionMap:
    """The positions that a convolution reads: one tap for each place of its kernel, weight 1.

    `padding` is that of torch: left, right, top, bottom.
    """
    axes = []
    for axis in (0, 1):
        before, after = padding[2 * (1 - axis)], padding[2 * (1 - axis) + 1]
        padded = _padded(size[axis], before, after, mode)
        count = (len(padded) - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1
        starts = stride[axis] * np.arange(max(count, 0))
        source = padded[starts[:, None] + dilation[axis] * np.arange(kernel[axis])]
        axes.append(Axis(source, (source != NONE).astype(float)))
    return PositionMap(axes[0], axes[1], size)


def pool_windows(
    size: Size, pooled: Size, kernel: Size, stride: Size, dilation: Size, padding: Size
) -> PositionMap:
    """The windows of a max pool that makes images of size `pooled`."""
    axes = []
    for axis in (0, 1):
        starts = stride[axis] * np.arange(pooled[axis]) - padding[axis]
        source = starts[:, None] + dilation[axis] * np.arange(kernel[axis])
        axes.append(_inside(source, size[axis]))
    return PositionMap(axes[0], axes[1], size)


def adaptive_windows(size: Size, pooled: Size) -> PositionMap:
    """The windows of an adaptive pool: from floor(i H / n) to ceil((i + 1) H / n)."""
    axes = []
    for old, new in zip(size, pooled, strict=True):
        at = np.arange(new)
        start, stop = at * old // new, -(-(at + 1) * old // new)
        source = start[:, None] + np.arange(int((stop - start).max()))
        axes.append(_inside(np.where(source < stop[:, None], source, NONE), old))
    return PositionMap(axes[0], axes[1], size)


def _inside(source: np.ndarray, size: int) -> Axis:
    inside = (source >= 0) & (source < size)
    return Axis(np.where(inside, source, NONE), inside.astype(float))


def _padded(size: int, before: int, after: int, mode: str) -> np.ndarray:
    """Which position stands where after padding."""
    places = torch.arange(size, dtype=torch.float64).reshape(1, 1, size)
    if mode == "zeros":
        padded = F.pad(places, (before, after), value=NONE)
    else:
        padded = F.pad(places, (before, after), mode)
    return padded.flatten().long().numpy()


def read_off(function: ImageMap, size: Size) -> PositionMap:
    """The tables of a linear map of images (n, 1, *size), found by running it.

    Raises:
        NotApplicableError: it does not act on rows and columns apart.
    """
    height, width = size
    ones = function(torch.ones(1, 1, height, width, dtype=torch.float64))[0, 0]
    if ones.numel() == 0 or not bool((ones > 0).any()):
        raise NotApplicableError("a map over positions that gives nothing")
    best = int(ones.argmax())
    y, x = divmod(best, ones.shape[1])
    rows = torch.eye(height, dtype=torch.float64)[:, None, :, None].expand(-1, -1, -1, width)
    columns = torch.eye(width, dtype=torch.float64)[:, None, None, :].expand(-1, -1, height, -1)
    down = function(rows.contiguous())[:, 0, :, x].T / ones[y, x]  # (new, old)
    across = function(columns.contiguous())[:, 0, y].T
    found = PositionMap(_axis(down), _axis(across), size)
    probe = torch.rand(1, 1, height, width, dtype=torch.float64)
    made = down @ probe[0, 0] @ across.T
    if not torch.allclose(made, function(probe)[0, 0], rtol=1e-9, atol=1e-12):
        raise NotApplicableError("a map over positions that does not treat rows and columns apart")
    return found


def _axis(dense: Tensor) -> Axis:
    """A matrix (new, old) by its entries that are not 0."""
    matrix = dense.numpy()
    taps = max(1, int((matrix != 0).sum(1).max()))
    order = np.argsort(matrix == 0, axis=1, kind="stable")[:, :taps]
    weight = np.take_along_axis(matrix, order, 1)
    return Axis(np.where(weight != 0, order, NONE), weight)
