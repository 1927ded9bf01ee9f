"""The norms of chosen rows of a linear map, exactly, by as few passes through it as will do.

A row is the filter of one gate. Three ways, of which the one with the fewest passes is taken:
- *by gate*: one vector-Jacobian product each;
- *by group*: gates that read nothing in common share a product, whose entries belong to the one
  gate that reads them; many positions of a layer near the input need the passes of a few;
- *by colour*: input positions so far apart that no gate sees two of them get an impulse in one and
  the same image; each gate's response to it is one entry of its filter, and the squares of the
  responses to all images add up.

Source: A. Curtis, M. Powell and J. Reed, "On the estimation of sparse Jacobian matrices", 1974.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dualview.primal.windows import PROBES, LinearMap, Reads, probed
from dualview.progress import Advance


@dataclass(frozen=True)
class Way:
    """One way to the norms.

    Attributes:
        passes: through the map, of one example each.
        squares: (examples at once, told of passes) -> squared norms (gates,), float64.
    """

    passes: int
    squares: Callable[[int, Advance], Tensor]


def cheapest(
    linear: LinearMap,
    gates: Tensor,
    block: int,
    spacing: Sequence[int],
    reads: tuple[Reads, ...] | None = None,
) -> Way:
    """The way of the fewest passes.

    Args:
        linear: the map.
        gates: flat numbers of gates, each once.
        block: examples that may be run at once, from 1 on.
        spacing: for each axis of the input, how far apart impulses of one colour lie.
        reads: what gates read, where that is known; else it is probed where it may help.
    """
    if reads is None and _may_help(linear, gates, block):
        reads = probed(linear, gates, block)
        spacing = (spacing[0], *(max(1, axis.longest) for axis in reads))
    colours = math.prod(spacing)
    ways = [
        Way(len(gates), lambda n, told: _by_gate(linear, gates, n, told)),
        Way(colours, lambda n, told: _by_colour(linear, gates, spacing, n, told)),
    ]
    if reads is not None:
        ways.append(_by_group(linear, gates, reads))
    return min(ways, key=lambda way: way.passes)


def _may_help(linear: LinearMap, gates: Tensor, block: int) -> bool:
    """Whether there are more gates than probes, and one in the middle reads a part of the image.

    Of deep layers every gate reads nearly all, and a probe of each row would be in vain.
    """
    if not linear.has_positions:
        return False
    places = torch.stack(torch.unravel_index(gates.cpu(), linear.gate_shape)[1:])
    if len(gates) <= 2 * PROBES * sum(len(place.unique()) for place in places):
        return False
    middle = torch.tensor(linear.gate_shape[1:]).unsqueeze(1) // 2
    central = int((places - middle).abs().sum(0).argmin())
    reads = probed(linear, gates[central : central + 1], block)
    return any(2 * axis.longest <= axis.size for axis in reads)


def _by_gate(linear: LinearMap, gates: Tensor, block: int, told: Advance) -> Tensor:
    found = [torch.zeros(0, dtype=torch.float64, device=linear.like.device)]
    for some in gates.split(block):
        found.append(linear.rows(some).flatten(1).square().sum(1, dtype=torch.float64))
        told(len(some))
    return torch.cat(found)


def _by_colour(
    linear: LinearMap, gates: Tensor, spacing: Sequence[int], block: int, told: Advance
) -> Tensor:
    squares = torch.zeros(linear.gate_shape, dtype=torch.float64, device=linear.like.device)
    for images in impulses(linear.like.new_zeros(1, *linear.input_shape), spacing, block):
        squares += linear.push(images).square().sum(0, dtype=torch.float64)
        told(len(images))
    return squares.flatten()[gates]


def impulses(example: Tensor, spacing: Sequence[int], block: int) -> Iterator[Tensor]:
    """Images of impulses `spacing` apart, one for each colour, in blocks (k, *input shape)."""
    phases = itertools.product(*(range(distance) for distance in spacing))
    while chosen := list(itertools.islice(phases, block)):
        images = example.new_zeros(len(chosen), *example.shape[1:])
        for image, phase in zip(images, chosen, strict=True):
            pairs = zip(phase, spacing, strict=True)
            image[tuple(slice(first, None, step) for first, step in pairs)] = 1
        yield images


def _by_group(linear: LinearMap, gates: Tensor, reads: tuple[Reads, ...]) -> Way:
    """Gates of one channel, and of one colour of each position axis, share a pass.

    Of one group, gates of different rows read nothing in common, and so do those of one row.
    """
    numbers, sizes = gates.cpu(), linear.gate_shape[1:]
    channel, *places = torch.unravel_index(numbers, linear.gate_shape)
    keys = [channel]
    for place, axis in zip(places, reads, strict=True):
        colours = axis.colours()
        keys.append(torch.tensor([colours[p] for p in place.tolist()], dtype=torch.long))
    groups, group = torch.stack(keys, 1).unique(dim=0, return_inverse=True)

    def squares(block: int, told: Advance) -> Tensor:
        owners = [_owners(axis, size) for axis, size in zip(reads, sizes, strict=True)]
        found = torch.zeros(len(gates), dtype=torch.float64)
        for first in range(0, len(groups), block):
            some = groups[first : first + block, 1:].tolist()
            mine = ((group >= first) & (group < first + len(some))).nonzero().flatten()
            row = group[mine] - first
            weights = torch.zeros(len(some), math.prod(linear.gate_shape))
            weights[row, numbers[mine]] = 1
            weights = weights.reshape(-1, *linear.gate_shape).to(linear.like)
            entries = linear.pull(weights).square().sum(1, dtype=torch.float64).cpu()
            sums = [
                _owned(of_one, [owner[c] for owner, c in zip(owners, colour, strict=True)], sizes)
                for of_one, colour in zip(entries, some, strict=True)
            ]
            found[mine] = torch.stack(sums)[(row, *(place[mine] for place in places))]
            told(len(some))
        return found.to(linear.like.device)

    return Way(len(groups), squares)


def _owners(reads: Reads, size: int) -> list[Tensor]:
    """For each colour, the gate position that reads each input position; `size`: none of them."""
    colours = reads.colours()
    owners = torch.full((1 + max(colours.values(), default=0), reads.size), size)
    for place, (start, stop) in reads.spans.items():
        owners[colours[place], start:stop] = place
    return list(owners.unbind())


def _owned(squares: Tensor, owners: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Sums of squares (input positions...) over what each gate position reads."""
    for axis, (owner, size) in enumerate(zip(owners, sizes, strict=True)):
        shape = [*squares.shape[:axis], size + 1, *squares.shape[axis + 1 :]]
        squares = squares.new_zeros(shape).index_add_(axis, owner, squares)
    return squares
