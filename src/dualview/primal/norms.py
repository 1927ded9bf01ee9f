"""The Euclidean norm of filters of a layer, exactly and without more than a block of them held.

Where every position is interior (circular padding), the norm is that of the channel's composed
kernel. Else they come by passes through the network (`row_norms`), on the smallest image that has
all kinds of border and one interior position: a gate far from every border sees what its neighbour
sees. The shrunken image is this project's.
"""

from __future__ import annotations

import functools
import math
import warnings
from dataclasses import dataclass

from torch import Tensor, fx

from dualview.errors import DualviewWarning
from dualview.primal.affine import filter_sums, linear_image
from dualview.primal.composition import operations
from dualview.primal.local_maps import Axis, LocalMap
from dualview.primal.row_norms import Way, cheapest
from dualview.primal.windows import LinearMap, Reads
from dualview.progress import Advance

OPERATIONS_A_SECOND = 2e10
"""Sums of products of a CPU, roughly: estimates only."""

BYTES_A_SECOND = 2e9
"""Values of a network written and read by a CPU, roughly: estimates only."""

LONG = 60.0
"""Seconds from which on a warning says what is being waited for."""


@dataclass(frozen=True)
class Canvas:
    """The image that norms are computed on, and where the full image's gates are found on it.

    Attributes:
        input_shape: shape of one input.
        gate_shape: shape of its gates.
        places: for each position axis of the gates, the canvas position of every full position.
        spacing: for each axis of the input, how far apart impulses of one colour lie.
        reads: for each position axis, what gates read; None: not known.
        share: of the full image that one pass takes.
    """

    input_shape: tuple[int, ...]
    gate_shape: tuple[int, ...]
    places: tuple[tuple[int, ...], ...]
    spacing: tuple[int, ...]
    reads: tuple[Reads, ...] | None = None
    share: float = 1.0


@dataclass(frozen=True, eq=False)
class NormWork:
    """What the norms of some gates take.

    Attributes:
        way: to them.
        block: examples at once.
        seconds: roughly, on a CPU.
        nbytes: held at once.
    """

    way: Way
    block: int
    seconds: float
    nbytes: float

    def norms(self, advance: Advance) -> Tensor:
        """The norms (gates,), float64."""
        return self.way.squares(self.block, advance).sqrt()


def norm_work(
    network: fx.GraphModule,
    like: Tensor,
    canvas: Canvas,
    gates: Tensor,
    *,
    held: int,
    written: int,
    memory: float,
) -> NormWork:
    """How the norms of gates of a canvas (flat numbers, each once) are found.

    Args:
        network: x (n, *input shape) -> q (n, *gate shape), affine.
        like: of the network's type and device.
        canvas: the image.
        gates: flat numbers in the canvas's gates, each once.
        held: bytes at once of one example on the full image.
        written: bytes of all its values.
        memory: bound, in bytes, on what several examples hold at once.
    """
    each = held * canvas.share
    block = max(1, int(memory / each))
    linear = linear_map(network, like, canvas.input_shape, canvas.gate_shape)
    way = cheapest(linear, gates, block, canvas.spacing, canvas.reads)
    example = like.new_zeros(1, *canvas.input_shape)
    seconds = operations(network, example) / OPERATIONS_A_SECOND
    seconds += canvas.share * written / BYTES_A_SECOND
    return NormWork(way, block, way.passes * seconds, min(block, way.passes) * each)


def say_long(layer: int, passes: int, seconds: float, nbytes: float) -> None:
    """Say beforehand that norms take long, to who called the library."""
    if seconds > LONG:
        warnings.warn(
            f"layer {layer}: the norms of these gates take {passes:,} passes through the network, "
            f"about {seconds / 60:,.0f} minutes and {nbytes / 1e6:,.0f} MB. Those of a few take a "
            f"moment each: channels=..., positions=...",
            DualviewWarning,
            stacklevel=5,
        )


def canvas_of(
    input_shape: tuple[int, ...], gate_shape: tuple[int, ...], local: LocalMap | None
) -> Canvas:
    """The canvas for gates with these kernels; the full image, a colour an entry, without any.

    >>> import torch
    >>> axis = Axis(32, 32, first=-4, length=9, start=4, stop=28)
    >>> canvas = canvas_of((3, 32), (128, 32), LocalMap(torch.zeros(128, 3, 9), (axis,)))
    >>> canvas.input_shape, canvas.gate_shape, canvas.spacing
    ((3, 9), (128, 9), (3, 9))
    """
    if local is None:
        own = tuple(tuple(range(size)) for size in gate_shape[1:])
        return Canvas(input_shape, gate_shape, own, input_shape)
    sizes, counts, spacing = [], [], [input_shape[0]]
    places, reads = [], []
    for axis in local.axes:
        surplus = len(axis.interior) - 1 if local.resizable else 0
        if axis.wraps or axis.scattered:
            surplus = 0
        size = axis.input_size - axis.stride * surplus
        sizes.append(size)
        counts.append(axis.size - surplus)
        places.append(tuple(_place(p, axis, surplus) for p in range(axis.size)))
        spacing.append(size if axis.scattered else _spacing(size, axis.length, axis.wraps))
        reads.append(_reads(axis, size, axis.size - surplus))
    inputs, gates = (input_shape[0], *sizes), (gate_shape[0], *counts)
    share = max(
        math.prod(inputs) / math.prod(input_shape), math.prod(gates) / math.prod(gate_shape)
    )
    return Canvas(inputs, gates, tuple(places), tuple(spacing), tuple(reads), share)


def _reads(axis: Axis, size: int, count: int) -> Reads:
    """What the `count` positions left of an axis read of the `size` left of the input's."""
    if axis.wraps or axis.scattered:
        return Reads(size, dict.fromkeys(range(count), (0, size)))
    starts = ((p, axis.stride * p + axis.first) for p in range(count))
    cut = {p: (max(0, start), min(size, start + axis.length)) for p, start in starts}
    return Reads(size, {p: (start, max(start, stop)) for p, (start, stop) in cut.items()})


def _place(position: int, axis: Axis, surplus: int) -> int:
    """Where a position goes when `surplus` interior positions are cut out."""
    return position - min(max(position - axis.start, 0), surplus)


def _spacing(size: int, length: int, wraps: bool) -> int:
    """Smallest distance of at least `length` at which impulses may repeat, around the end too.

    >>> _spacing(32, 9, wraps=False), _spacing(32, 9, wraps=True), _spacing(8, 9, wraps=True)
    (9, 11, 8)
    """
    if not wraps:
        return min(size, length)
    fits = (d for d in range(length, size) if size % d == 0 or size % d >= length)
    return next(fits, size)


def linear_map(
    network: fx.GraphModule, like: Tensor, input_shape: tuple[int, ...], gate_shape: tuple[int, ...]
) -> LinearMap:
    """The linear part of a network x (n, *input shape) -> q (n, *gate shape), affine."""
    zeros = like.new_zeros(1, *input_shape)
    return LinearMap(
        input_shape,
        gate_shape,
        like,
        pull=functools.partial(filter_sums, network, zeros),
        push=functools.partial(linear_image, network, zeros),
    )
