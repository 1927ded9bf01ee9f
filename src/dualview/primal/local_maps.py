"""A value that reads the input through one small kernel a channel, the same at every position.

Channel c at position p of such a value is, up to a constant,
  sum over i and d of kernels[c, i, d] * x[i, stride * p + first + d],
with input positions modulo the input's size (they leave it under circular padding only). That holds
at the positions of the *interior*; nearer to the border, zero padding has cut off terms. Positions,
strides and the like have one entry for each position axis, which are kept as one `Axis` each.

Kernels have axes (channels, input channels, positions...). Whatever makes a value without interior
raises `NoInteriorError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F


class NoInteriorError(Exception):
    """No position sees its kernel whole, free of the border; `lengths`: of the kernels."""

    def __init__(self, lengths: tuple[int, ...]) -> None:
        super().__init__(lengths)
        self.lengths = lengths


_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@dataclass(frozen=True)
class Window:
    """What an operation reads along one axis: positions stride * p - before + dilation * j.

    Attributes:
        taps: number of positions read, j = 0 ... taps - 1.
        before, after: positions padded on either side; negative: cut off.
        mode: of padding: "constant", "circular", or another, which copies positions about.
    """

    taps: int = 1
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0
    mode: str = "constant"


@dataclass(frozen=True)
class Axis:
    """One position axis of a value, and what its positions read along the same axis of the input.

    Attributes:
        input_size, size: positions of the input and of the value.
        stride, first, length: position p reads input positions stride * p + first up to
            stride * p + first + length - 1.
        start, stop: the interior.
        wraps: circular padding made positions near the border read the other side.
        scattered: positions outside the interior may read the input anywhere.
    """

    input_size: int
    size: int
    stride: int = 1
    first: int = 0
    length: int = 1
    start: int = 0
    stop: int = 0
    wraps: bool = False
    scattered: bool = False

    @classmethod
    def of_input(cls, size: int) -> Axis:
        """The input's own axis: every position reads itself."""
        return cls(size, size, stop=size)

    @property
    def interior(self) -> range:
        """Positions where the kernel is exact."""
        return range(self.start, self.stop)

    @property
    def all_interior(self) -> bool:
        """Whether the kernel is exact at every position."""
        return self.start == 0 and self.stop == self.size

    def through(self, window: Window, size: int) -> Axis:
        """The axis of the `size` outputs of an operation that reads this one by `window`.

        >>> Axis.of_input(32).through(Window(taps=3, before=1, after=1), 32).interior
        range(1, 31)
        """
        padded = max(window.before, window.after) > 0
        periodic = self.all_interior and self.size * self.stride == self.input_size
        endless = padded and window.mode == "circular" and periodic
        reach = (window.taps - 1) * window.dilation
        start, stop = 0, size
        if not endless:
            start = max(0, -(-(self.start + window.before) // window.stride))
            stop = min(size, (self.stop - 1 + window.before - reach) // window.stride + 1)
        return replace(
            self,
            size=size,
            stride=self.stride * window.stride,
            first=self.first - self.stride * window.before,
            length=self.length + self.stride * reach,
            start=start,
            stop=max(start, stop),
            wraps=self.wraps or endless,
            scattered=self.scattered or (padded and window.mode != "constant" and not endless),
        )

    def joined(self, other: Axis) -> Axis | None:
        """The axis of a sum of two values; None where their kernels move at different strides."""
        key = (self.input_size, self.size, self.stride)
        if key != (other.input_size, other.size, other.stride):
            return None
        first = min(self.first, other.first)
        last = max(self.first + self.length, other.first + other.length)
        start, stop = max(self.start, other.start), min(self.stop, other.stop)
        return replace(
            self,
            first=first,
            length=last - first,
            start=start,
            stop=max(start, stop),
            wraps=self.wraps or other.wraps,
            scattered=self.scattered or other.scattered,
        )


@dataclass(frozen=True, eq=False)
class LocalMap:
    """A value's kernels (channels, input channels, lengths...) and its position axes.

    `resizable` says that the network before it can be run on images of another size.
    """

    kernels: Tensor
    axes: tuple[Axis, ...]
    resizable: bool = True

    @classmethod
    def of_input(cls, example: Tensor) -> LocalMap:
        """The input (1, channels, positions...) itself: each channel reads itself."""
        channels, dims = example.shape[1], example.dim() - 2
        identity = torch.eye(channels, dtype=example.dtype, device=example.device)
        axes = tuple(Axis.of_input(size) for size in example.shape[2:])
        return cls(identity.reshape(channels, channels, *(1,) * dims), axes)

    @property
    def dims(self) -> int:
        """Number of position axes."""
        return len(self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, positions...) of the value."""
        return (self.kernels.shape[0], *(axis.size for axis in self.axes))


def moved(value: LocalMap, windows: Sequence[Window], sizes: Sequence[int]) -> LocalMap:
    """Padding, cropping or taking every n-th position: no new kernel entries."""
    return replace(value, axes=_through(value, windows, sizes))


def convolved(
    value: LocalMap, weight: Tensor, groups: int, windows: Sequence[Window], sizes: Sequence[int]
) -> LocalMap:
    """A convolution with `weight` (channels, inputs per group, taps...)."""
    axes = _through(value, windows, sizes)
    outputs, inputs, *taps = weight.shape
    by_input = weight.reshape(groups, outputs // groups, inputs, *taps).transpose(1, 2)
    by_input = by_input.reshape(groups * inputs, outputs // groups, *taps)
    dilation = _steps(value, windows)
    kernels = _CONV_TRANSPOSE[value.dims](  # composing kernels: correlations add their offsets
        value.kernels.transpose(0, 1), by_input, groups=groups, dilation=dilation
    )
    return folded(replace(value, kernels=kernels.transpose(0, 1), axes=axes))


def pooled(
    value: LocalMap, factor: float, windows: Sequence[Window], sizes: Sequence[int]
) -> LocalMap:
    """The sum over a window times `factor`, channel by channel."""
    axes = _through(value, windows, sizes)
    lead, lengths = value.kernels.shape[:2], value.kernels.shape[2:]
    ones = value.kernels.new_full((1, 1, *(window.taps for window in windows)), factor)
    kernels = _CONV_TRANSPOSE[value.dims](
        value.kernels.reshape(-1, 1, *lengths), ones, dilation=_steps(value, windows)
    )
    return folded(replace(value, kernels=kernels.reshape(*lead, *kernels.shape[2:]), axes=axes))


def _through(value: LocalMap, windows: Sequence[Window], sizes: Sequence[int]) -> tuple[Axis, ...]:
    each = zip(value.axes, windows, sizes, strict=True)
    return _with_interior(tuple(axis.through(window, size) for axis, window, size in each))


def _with_interior(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    if not all(axis.interior for axis in axes):
        raise NoInteriorError(tuple(axis.length for axis in axes))
    return axes


def _steps(value: LocalMap, windows: Sequence[Window]) -> tuple[int, ...]:
    """Input positions between two neighbouring taps."""
    pairs = zip(value.axes, windows, strict=True)
    return tuple(axis.stride * window.dilation for axis, window in pairs)


def scaled(value: LocalMap, factor: Tensor) -> LocalMap:
    """Multiplication by one number a channel, or one for all."""
    return replace(value, kernels=value.kernels * factor.reshape(-1, *(1,) * (1 + value.dims)))


def summed(left: LocalMap, right: LocalMap, sign: float = 1.0) -> LocalMap | None:
    """`left + sign * right`; None where the two do not read alike."""
    both = aligned([left, right])
    if both is None or both[0].shape != both[1].shape:
        return None
    return folded(replace(both[0], kernels=both[0].kernels + sign * both[1].kernels))


def concatenated(values: Sequence[LocalMap]) -> LocalMap | None:
    """The channels of all values, one after the other."""
    together = aligned(values)
    if together is None:
        return None
    return folded(replace(together[0], kernels=torch.cat([value.kernels for value in together])))


def aligned(values: Sequence[LocalMap]) -> list[LocalMap] | None:
    """The same values with kernels of one size and place, filled up with zeros."""
    first = values[0]
    axes: tuple[Axis, ...] = first.axes
    for value in values[1:]:
        pairs = zip(axes, value.axes, strict=True) if value.dims == first.dims else ()
        joined = tuple(a.joined(b) for a, b in pairs)
        axes = tuple(axis for axis in joined if axis is not None)
        if len(axes) != first.dims:
            return None
        axes = _with_interior(axes)
    resizable = all(value.resizable for value in values)
    return [LocalMap(_filled(value, axes), axes, resizable) for value in values]


def _filled(value: LocalMap, axes: tuple[Axis, ...]) -> Tensor:
    margins: list[int] = []
    for old, new in zip(reversed(value.axes), reversed(axes), strict=True):
        before = old.first - new.first
        margins += [before, new.length - old.length - before]
    return F.pad(value.kernels, margins)


def folded(value: LocalMap) -> LocalMap:
    """Kernels longer than the input (circular padding only) laid onto it, modulo its size.

    >>> long = LocalMap(torch.arange(5.0).reshape(1, 1, 5), (Axis(3, 3, length=5, stop=3),))
    >>> folded(long).kernels.tolist()
    [[[3.0, 5.0, 2.0]]]
    """
    kernels, axes = value.kernels, list(value.axes)
    for place, axis in enumerate(axes):
        if axis.length > axis.input_size:
            size, at = axis.input_size, 2 + place
            margin = [0, 0] * (kernels.dim() - 1 - at) + [0, -axis.length % size]
            parts = F.pad(kernels, margin).unflatten(at, (-1, size))
            kernels, axes[place] = parts.sum(at), replace(axis, length=size)
    return replace(value, kernels=kernels, axes=tuple(axes))
