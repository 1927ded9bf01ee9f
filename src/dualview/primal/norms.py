"""The Euclidean norm of every filter of a layer, exactly and without any filter held.

Three ways, each exact:
- every position interior (circular padding): the norm of the channel's composed kernel;
- few gates: one vector-Jacobian product each;
- else *coloured impulses*. Input positions so far apart that no gate sees two of them get an
  impulse in one and the same image; each gate's response to the image is then one entry of its
  filter, and the squares of the responses to all images (colours) add up to the squared norm.

A gate far from every border sees what its neighbour sees, so both ways run on the smallest image
that has all kinds of border and one interior position.

Source: A. Curtis, M. Powell and J. Reed, "On the estimation of sparse Jacobian matrices", 1974 (the
colours); the shrunken image is this project's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from dualview.primal.affine import filter_sums, linear_image
from dualview.primal.local_maps import Axis, LocalMap


@dataclass(frozen=True)
class Canvas:
    """The image that norms are computed on, and where the full image's gates are found on it.

    Attributes:
        input_shape: shape of one input.
        gate_shape: shape of its gates.
        places: for each position axis of the gates, the canvas position of every full position.
        spacing: for each axis of the input, how far apart impulses of one colour lie.
    """

    input_shape: tuple[int, ...]
    gate_shape: tuple[int, ...]
    places: tuple[tuple[int, ...], ...]
    spacing: tuple[int, ...]

    @property
    def colours(self) -> int:
        """Number of images with impulses."""
        return math.prod(self.spacing)


def filter_norms(
    network: fx.GraphModule,
    example: Tensor,
    gate_shape: Sequence[int],
    local: LocalMap | None,
    block: int,
) -> Tensor:
    """Norms of the filters of all gates, of the shape `gate_shape`.

    Args:
        network: x (n, *input shape) -> q (n, *gate shape), affine.
        example: (1, *input shape); its values do not matter.
        gate_shape: shape of one example's gates.
        local: the gates' composed kernels, where there are.
        block: examples that may be run at once on the full image.
    """
    if local is not None and all(axis.all_interior for axis in local.axes):
        norms = local.kernels.flatten(1).norm(dim=1)
        return norms.reshape(-1, *(1,) * local.dims).expand(*gate_shape).clone()
    canvas = canvas_of(tuple(example.shape[1:]), tuple(gate_shape), local)
    example = example.new_zeros(1, *canvas.input_shape)
    block = int(block * math.prod(gate_shape) / math.prod(canvas.gate_shape))
    if math.prod(canvas.gate_shape) <= canvas.colours:
        squares = _squares_by_gate(network, example, canvas, block)
    else:
        squares = _squares_by_colour(network, example, canvas, block)
    norms = squares.sqrt().to(example.dtype)
    for axis, places in enumerate(canvas.places):
        norms = norms.index_select(1 + axis, torch.tensor(places, device=norms.device))
    return norms


def canvas_of(
    input_shape: tuple[int, ...], gate_shape: tuple[int, ...], local: LocalMap | None
) -> Canvas:
    """The canvas for gates with these kernels; the full image, a colour an entry, without any.

    >>> axis = Axis(32, 32, first=-4, length=9, start=4, stop=28)
    >>> canvas = canvas_of((3, 32), (128, 32), LocalMap(torch.zeros(128, 3, 9), (axis,)))
    >>> canvas.input_shape, canvas.gate_shape, canvas.spacing
    ((3, 9), (128, 9), (3, 9))
    """
    if local is None:
        own = tuple(tuple(range(size)) for size in gate_shape[1:])
        return Canvas(input_shape, gate_shape, own, input_shape)
    sizes, counts, spacing = [], [], [input_shape[0]]
    places = []
    for axis in local.axes:
        surplus = len(axis.interior) - 1 if local.resizable else 0
        if axis.wraps or axis.scattered:
            surplus = 0
        size = axis.input_size - axis.stride * surplus
        sizes.append(size)
        counts.append(axis.size - surplus)
        places.append(tuple(_place(p, axis, surplus) for p in range(axis.size)))
        spacing.append(size if axis.scattered else _spacing(size, axis.length, axis.wraps))
    return Canvas((input_shape[0], *sizes), (gate_shape[0], *counts), tuple(places), tuple(spacing))


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


def _squares_by_colour(
    network: fx.GraphModule, example: Tensor, canvas: Canvas, block: int
) -> Tensor:
    squares = torch.zeros(canvas.gate_shape, dtype=torch.float64, device=example.device)
    for images in impulses(example, canvas.spacing, block):
        squares += linear_image(network, images).square().sum(0, dtype=torch.float64)
    return squares


def impulses(example: Tensor, spacing: Sequence[int], block: int) -> Iterator[Tensor]:
    """Images of impulses `spacing` apart, one for each colour, in blocks (k, *input shape)."""
    phases = itertools.product(*(range(distance) for distance in spacing))
    while chosen := list(itertools.islice(phases, max(1, block))):
        images = example.new_zeros(len(chosen), *example.shape[1:])
        for image, phase in zip(images, chosen, strict=True):
            pairs = zip(phase, spacing, strict=True)
            image[tuple(slice(first, None, step) for first, step in pairs)] = 1
        yield images


def _squares_by_gate(
    network: fx.GraphModule, example: Tensor, canvas: Canvas, block: int
) -> Tensor:
    gates = torch.arange(math.prod(canvas.gate_shape), device=example.device)
    parts = [
        filters_of(network, example, canvas.gate_shape, chosen)
        .flatten(1)
        .square()
        .sum(1, dtype=torch.float64)
        for chosen in gates.split(max(1, block))
    ]
    return torch.cat(parts).reshape(canvas.gate_shape)


def filters_of(
    network: fx.GraphModule, example: Tensor, gate_shape: Sequence[int], gates: Tensor
) -> Tensor:
    """Filters (k, *input shape) of gates, given by their flat positions (k,) in `gate_shape`."""
    weights = example.new_zeros(len(gates), math.prod(gate_shape))
    weights.scatter_(1, gates.unsqueeze(1), 1)
    return filter_sums(network, example, weights.reshape(-1, *gate_shape))
