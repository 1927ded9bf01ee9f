"""Which positions of the input every position of a layer reads, found by two probes a row.

A linear map between arrays with the same number of position axes is pulled back from random numbers
at all chosen gates of one row (column, ...). What comes out is 0 at the rows of the input that none
of them reads, and there alone: that another entry cancels has probability 0, and that every entry
of a row does so twice, none either in rounded numbers. So it holds for any operations: grouped and
depthwise convolutions, skips, pools, shuffles, upsampling, circular padding, closed gates.

Source: A. Griewank and C. Mitev, "Detecting Jacobian sparsity patterns by Bayesian probing", 2002.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

PROBES = 2
"""Random draws a row; a position is read if it is in any."""


@dataclass(frozen=True)
class LinearMap:
    """A linear map x -> F x that is applied both ways, and never held as a matrix.

    Attributes:
        input_shape: (channels, positions...) or (features,) of one input.
        gate_shape: of its value.
        like: a tensor of the map's type and device.
        pull: (k, *gate_shape) -> (k, *input_shape), sums of rows.
        push: (k, *input_shape) -> (k, *gate_shape), values.
    """

    input_shape: tuple[int, ...]
    gate_shape: tuple[int, ...]
    like: Tensor
    pull: Callable[[Tensor], Tensor]
    push: Callable[[Tensor], Tensor]

    @property
    def has_positions(self) -> bool:
        """Whether input and gates have the same position axes, by their number."""
        return len(self.input_shape) == len(self.gate_shape) > 1

    def rows(self, gates: Tensor) -> Tensor:
        """The rows of F (k, *input_shape) of gates, given by their flat numbers (k,)."""
        weights = self.like.new_zeros(len(gates), math.prod(self.gate_shape))
        weights.scatter_(1, gates.unsqueeze(1), 1)
        return self.pull(weights.reshape(-1, *self.gate_shape))


@dataclass(frozen=True)
class Reads:
    """What the positions of one axis of the gates read along the same axis of the input.

    Attributes:
        size: positions of the input.
        spans: gate position -> the first position that it reads, and the one behind the last;
            the two are equal where it reads nothing.
    """

    size: int
    spans: dict[int, tuple[int, int]]

    @property
    def longest(self) -> int:
        """Length of the longest span."""
        return max((stop - start for start, stop in self.spans.values()), default=0)

    def colours(self) -> dict[int, int]:
        """A number for each gate position, such that those of one number read nothing in common.

        As few numbers as there are spans over any one position.

        >>> Reads(9, {0: (0, 3), 1: (2, 5), 2: (3, 7), 3: (6, 9)}).colours()
        {0: 0, 1: 1, 2: 0, 3: 1}
        """
        found: dict[int, int] = {}
        free: list[int] = []
        busy: list[tuple[int, int]] = []  # where a colour's last span ends, and the colour
        for place, (start, stop) in sorted(self.spans.items(), key=lambda pair: pair[1]):
            while busy and busy[0][0] <= start:
                heapq.heappush(free, heapq.heappop(busy)[1])
            found[place] = heapq.heappop(free) if free else len(busy)
            heapq.heappush(busy, (stop, found[place]))
        return found


def probed(linear: LinearMap, gates: Tensor, block: int) -> tuple[Reads, ...]:
    """What the rows of gates (flat numbers) read, for each position axis.

    Args:
        linear: with positions.
        gates: those that are asked about; others are left out of all rows.
        block: probes at once.
    """
    places = torch.stack(torch.unravel_index(gates.cpu(), linear.gate_shape))
    found = []
    for axis, size in enumerate(linear.input_shape[1:], start=1):
        rows = places[axis].unique()
        spans: dict[int, tuple[int, int]] = {}
        for some in rows.split(max(1, block // PROBES)):
            spans |= _spans(linear, gates, places[axis], axis, some)
        found.append(Reads(size, spans))
    return tuple(found)


def _spans(
    linear: LinearMap, gates: Tensor, of_gate: Tensor, axis: int, rows: Tensor
) -> dict[int, tuple[int, int]]:
    """Spans of some rows, each probed in `PROBES` entries of one block."""
    draws = torch.Generator().manual_seed(int(rows[0]))
    weights = linear.like.new_zeros(len(rows), PROBES, math.prod(linear.gate_shape))
    for row, weight in zip(rows, weights, strict=True):
        mine = gates[of_gate == row]
        weight[:, mine] = torch.randn(PROBES, len(mine), generator=draws).to(weight)
    pulled = linear.pull(weights.reshape(-1, *linear.gate_shape)) != 0
    read = pulled.unflatten(0, (-1, PROBES)).any(1).movedim(axis + 1, 1).flatten(2).any(2)
    return {int(row): _hull(entries) for row, entries in zip(rows, read, strict=True)}


def _hull(read: Tensor) -> tuple[int, int]:
    """From the first entry that is true to behind the last."""
    where = read.nonzero()
    return (int(where[0]), int(where[-1]) + 1) if len(where) else (0, 0)
