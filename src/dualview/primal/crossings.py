"""`gate_crossings`: every gate that switches on the segment between two inputs, exactly.

Inside a linear region all pre-activations are affine along the segment, so that one evaluation says
how far the region reaches on both sides. What is left between regions is looked at next, until they
cover the segment. Everything is computed in float64.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from dualview.arguments import byte_count, one_of, takes, whole
from dualview.conversion.examples import example, gated
from dualview.conversion.finite import check_preactivations
from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import PrimalFilterError
from dualview.primal.regions import (
    STEPS,
    Bends,
    bends_of,
    exact_copy,
    examples_of,
    expect_logits,
)

NEAREST = 1e-13
"""Crossings that are nearer than this share of the segment are at one position."""

HELD = 8
"""Temporaries of the size of all noted values."""


@dataclass(frozen=True)
class Crossing:
    """A gate that switches.

    Attributes:
        position: on the segment, from 0 to 1.
        layer: of the gating network, from 0 on.
        unit: index in one example's pre-activations: (unit,) or (channel, position...).
        on: whether it is on behind the position.
    """

    position: float
    layer: int
    unit: tuple[int, ...]
    on: bool


@dataclass(frozen=True, eq=False)
class GateCrossings:
    """The gates that switch on the segment from a to b, and the logits between.

    A piece is where no gate switches, no max pool changes its choice and no activation bends.

    Attributes:
        crossings: in order from a to b.
        positions: (pieces + 1,) ends of the pieces, from 0 to 1.
        at_start: (pieces, outputs) logits at the start of each piece, with the piece's own gates.
        at_end: (pieces, outputs) at its end. They differ from those at the next start where a gate
            that switches makes the output jump, as in a DGN or DLGN.
        linear: whether logits are linear on each piece, as they are under gates that are constant
            on either side of 0. Under others they are those at the ends, and a curve between.
        length: Euclidean length of the segment.
    """

    crossings: tuple[Crossing, ...]
    positions: Tensor
    at_start: Tensor
    at_end: Tensor
    linear: bool
    length: float

    def logits(self, positions: Tensor | Sequence[float]) -> Tensor:
        """Logits (n, outputs) at positions from 0 to 1; at a jump, those just before it.

        Raises:
            PrimalFilterError: a position is outside, or logits are not linear between crossings.
        """
        at = torch.as_tensor(positions, dtype=torch.float64)
        if at.dim() != 1 or not bool(((at >= 0) & (at <= 1)).all()):
            raise PrimalFilterError("positions: expected numbers from 0 to 1, in one row")
        if not self.linear:
            raise PrimalFilterError(
                "gates: expected gates that are constant on either side of 0, got others, under "
                "which logits are no straight line between crossings. Repair: "
                "gate_crossings(..., gates='hard'), or net.logits at the points themselves"
            )
        piece = (torch.searchsorted(self.positions, at) - 1).clamp(0, len(self.at_start) - 1)
        start, end = self.positions[piece], self.positions[piece + 1]
        share = ((at - start) / (end - start)).unsqueeze(1)
        return self.at_start[piece] * (1 - share) + self.at_end[piece] * share

    def __str__(self) -> str:
        pieces = len(self.at_start)
        lines = [
            f"{len(self.crossings)} gates switch on {pieces} pieces of length {self.length:.4g}"
        ]
        for one in self.crossings[:10]:
            unit = ", ".join(map(str, one.unit))
            lines.append(
                f"  {one.position:.6f}  gate {one.layer}[{unit}] {'on' if one.on else 'off'}"
            )
        return "\n".join([*lines, "  ..."] if len(self.crossings) > 10 else lines)


@takes(
    PrimalFilterError,
    net=gated,
    a=example,
    b=example,
    gates=one_of("model", "hard"),
    most=whole(1),
    memory=byte_count,
)
def gate_crossings(
    net: GatedNetwork,
    a: Tensor,
    b: Tensor,
    *,
    gates: Literal["model", "hard"] = "model",
    most: int = 100_000,
    memory: float = 256e6,
) -> GateCrossings:
    """Every gate that switches on the segment from a to b, exactly and in order.

    For every network whose gating network is piecewise linear: a DLGN, or a DNN or DGN of ReLU,
    leaky ReLU, PReLU or ReLU6 and max pools. Found region by region, in float64 and evaluation
    mode; crossings that are nearer than 1e-13 of the segment count as one position.

    Args:
        net: the network.
        a: one example, where the segment starts.
        b: one example, where it ends.
        gates: of the logits between: as the network applies them, or 1{q > 0}.
        most: pieces that may be found before it is given up.
        memory: bound, in bytes, on one block of work.

    Raises:
        PrimalFilterError: a or b is no example of the network, something in the gating network is
            not piecewise linear, there are several inputs or outputs, or more than `most` pieces.

    Source: derived; the documentation's theory, section 9.

    >>> import dualview as dv
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    >>> for parameter, values in zip(model.parameters(), ([1.0, -1.0], [-0.25, 0.75], [1, 1], [0])):
    ...     parameter.data = torch.tensor(values, dtype=torch.float64).view(parameter.shape)
    >>> zero, one = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    >>> print(gate_crossings(dv.disentangle(model, "dnn"), zero, one))
    2 gates switch on 3 pieces of length 1
      0.250000  gate 0[0] on
      0.750000  gate 0[1] off
    """
    bends = bends_of(net)
    start, end = examples_of(net, a, b)
    exact = exact_copy(net)
    line = _Line(exact, bends, start, end - start, gates == "hard", memory)
    found = sorted(line.regions(most), key=lambda region: region.low)
    positions = [0.0, *(region.high for region in found[:-1]), 1.0]
    hard = gates == "hard" or all(isinstance(gate, STEPS) for gate in exact.gate_functions)
    at_start, at_end = line.logits(found, positions, of_piece=hard)
    return GateCrossings(
        tuple(_switches(found, positions)),
        torch.tensor(positions, dtype=torch.float64),
        at_start,
        at_end,
        hard,
        float((end - start).norm()),
    )


@dataclass(frozen=True, eq=False)
class _Region:
    """A piece of the segment: its ends, a point inside, and the gates there by layer."""

    low: float
    high: float
    point: float
    on: tuple[Tensor, ...]


class _Line:
    """The segment from `start` along `direction`, at positions from 0 to 1."""

    def __init__(
        self,
        net: GatedNetwork,
        bends: Bends,
        start: Tensor,
        direction: Tensor,
        hard: bool,
        memory: float,
    ) -> None:
        self.net, self.bends, self.hard = net, bends, hard
        self.start, self.direction = start, direction
        noted = sum(value.numel() for value, _ in bends.along(start, direction))
        self.block = max(1, int(memory / (8 * HELD * (noted + start.numel()))))

    def at(self, positions: Sequence[float]) -> Tensor:
        """The points at positions, (n, ...)."""
        t = torch.tensor(positions, dtype=torch.float64)
        return self.start + t.view(-1, *(1,) * (self.start.dim() - 1)) * self.direction

    def regions(self, most: int) -> list[_Region]:
        """Pieces that cover the segment, in any order."""
        found: list[_Region] = []
        gaps = [(0.0, 1.0)]
        while gaps:
            some, gaps = gaps[: self.block], gaps[self.block :]
            middles = [(low + high) / 2 for low, high in some]
            noted = self.bends.along(self.at(middles), self.direction)
            check_preactivations("a, b", [value for value, _ in noted], PrimalFilterError)
            back, ahead, at_bend = self.bends.reach(noted)
            on = [value > 0 for value, _ in noted[: self.bends.n_gates]]
            for row, ((low, high), middle) in enumerate(zip(some, middles, strict=True)):
                if at_bend[row]:  # a bend at the very middle: no region is there
                    gaps += _wide((low, middle), (middle, high))
                    continue
                first = max(low, middle + float(back[row]))
                last = min(high, middle + float(ahead[row]))
                states = tuple(layer[row] for layer in on)
                found.append(_Region(first, last, middle, states))
                gaps += _wide((low, first), (last, high))
            if len(found) + len(gaps) > most:
                raise PrimalFilterError(
                    f"most: expected at most {most:,} pieces, found more. Repair: a larger `most`, "
                    f"or examples that are nearer to each other"
                )
        return found

    def logits(
        self, found: Sequence[_Region], positions: Sequence[float], *, of_piece: bool
    ) -> tuple[Tensor, Tensor]:
        """Logits at both ends of every piece: under the gates inside it, or those of the ends."""
        rows: list[list[Tensor]] = [[], []]
        for first in range(0, len(found), self.block):
            some = found[first : first + self.block]
            inside = self._gates(self.at([region.point for region in some])) if of_piece else None
            for side, out in enumerate(rows):
                ends = self.at([positions[first + k + side] for k in range(len(some))])
                out.append(self._logits(ends, inside or self._gates(ends)))
        return torch.cat(rows[0]), torch.cat(rows[1])

    def _gates(self, x: Tensor) -> tuple[Tensor, ...]:
        """All that the weights network needs beside its input."""
        with torch.no_grad():
            gates, switches = self.net.gates_and_switches(x, hard=self.hard)
        return (*gates, *switches)

    def _logits(self, x: Tensor, gates: tuple[Tensor, ...]) -> Tensor:
        with torch.no_grad():
            value: Any = self.net.weights_network(self.net.transformed(x), *gates)
        return expect_logits(value, len(x))


def _wide(*gaps: tuple[float, float]) -> list[tuple[float, float]]:
    return [(low, high) for low, high in gaps if high - low > NEAREST]


def _switches(found: Sequence[_Region], positions: Sequence[float]) -> Iterator[Crossing]:
    for place, (before, after) in enumerate(itertools.pairwise(found), 1):
        for layer, (was, now) in enumerate(zip(before.on, after.on, strict=True)):
            for unit in (was != now).nonzero().tolist():
                yield Crossing(positions[place], layer, tuple(unit), bool(now[tuple(unit)]))
