"""`partition_slice`: a DLGN's arrangement of gates in the plane through three examples, exactly.

In a DLGN each gate's pre-activation is affine in the input, so that on a plane its zeros are a
straight line. The lines cut a window of the plane into convex cells. In a cell all hard gates are
constant and the logits affine, so that its decisions are convex polygons too. All is float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dualview.arguments import byte_count, number, one_of, takes, whole
from dualview.conversion.examples import example, gated
from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import PrimalFilterError
from dualview.primal.affine import LINEAR_KINDS
from dualview.primal.regions import STEPS, bends_of, exact_copy, examples_of, logits_at

SLIVER = 1e-12
"""Parts of cells that are thinner than this share of the window are rounding."""


@dataclass(frozen=True, eq=False)
class PartitionSlice:
    """The cells of a plane, and what is decided where.

    Coordinates are Euclidean distances in the plane: the first example is at (0, 0), the second at
    (distance, 0), the third above the first axis. Arrays are NumPy's, float64.

    Attributes:
        lines: (lines, 3): the gates whose line meets the window, as (p, q, r) of p s + q t + r = 0,
            positive where the gate is on.
        line_gates: (lines, 2): of each line the layer, and the flat number of the unit.
        cells: convex polygons (corners, 2), counter-clockwise, that fill the window.
        cell_gates: (cells, lines) whether each of those gates is on.
        decisions: convex polygons that fill the window, on which one output is the largest.
        classes: (decisions,) which output that is.
        decision_cells: (decisions,) which cell each lies in.
        examples: (3, 2) where the examples are.
        predicted: (3,) their decisions.
        window: (left, right, bottom, top).
    """

    lines: np.ndarray
    line_gates: np.ndarray
    cells: tuple[np.ndarray, ...]
    cell_gates: np.ndarray
    decisions: tuple[np.ndarray, ...]
    classes: np.ndarray
    decision_cells: np.ndarray
    examples: np.ndarray
    predicted: np.ndarray
    window: tuple[float, float, float, float]

    def __str__(self) -> str:
        outputs = ", ".join(map(str, sorted(set(self.classes.tolist()))))
        return (
            f"{len(self.lines)} lines cut the window into {len(self.cells)} cells; decided there: "
            f"{outputs}"
        )


@takes(
    PrimalFilterError,
    net=gated,
    a=example,
    b=example,
    c=example,
    gates=one_of("model", "hard"),
    margin=number(least=0),
    most=whole(1),
    memory=byte_count,
)
def partition_slice(
    net: GatedNetwork,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    *,
    gates: Literal["model", "hard"] = "model",
    margin: float = 0.3,
    most: int = 20_000,
    memory: float = 256e6,
) -> PartitionSlice:
    """A DLGN's whole arrangement of gates in the plane through three examples, with its decisions.

    Args:
        net: a DLGN or DLGN-SF with gates that are constant on either side of 0.
        a: one example.
        b: another one.
        c: a third one, not on a line with the others.
        gates: as the network applies them, or 1{q > 0}, which a network of soft gates needs here:
            its decisions have no straight borders.
        margin: how far the window goes beyond the three examples, as a share of their extent.
        most: cells that may be found before it is given up.
        memory: bound, in bytes, on one block of work.

    Raises:
        PrimalFilterError: another kind of network or of gates, examples that it does not take or
            that lie on one line, several outputs, or more than `most` cells.

    Source: derived; the documentation's theory, section 9.

    >>> import dualview as dv
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(
    ...     nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> net = dv.disentangle(model, "dlgn", gate="hard", seed=0)
    >>> found = partition_slice(net, *torch.randn(3, 3).split(1))
    >>> len(found.lines) <= 8, len(found.cells) > 1, len(found.decisions) >= len(found.cells)
    (True, True, True)
    """
    _check_kind(net, gates)
    points = examples_of(net, a, b, c)
    frame = _frame(*points)
    window = _window(frame.examples, margin)
    lines, line_gates = _lines(net, frame, window)
    cells = _cells(lines, window, most)
    exact, hard, together = exact_copy(net), gates == "hard", torch.cat(points)
    logits = _cell_logits(exact, frame, cells, hard, memory)
    return PartitionSlice(
        lines,
        line_gates,
        tuple(cells),
        np.stack([_sides(lines, cell.mean(0)) > 0 for cell in cells]),
        *_decisions(cells, logits),
        frame.examples,
        logits_at(exact, together, together, hard=hard).argmax(1).numpy(),
        window,
    )


def _window(corners: np.ndarray, margin: float) -> tuple[float, float, float, float]:
    """Lowest and highest abscissa, then ordinate, with room around the examples (3, 2)."""
    low, high = corners.min(0), corners.max(0)
    grow = margin * (high - low).max()
    (left, bottom), (right, top) = (low - grow).tolist(), (high + grow).tolist()
    return left, right, bottom, top


def _check_kind(net: GatedNetwork, gates: str) -> None:
    if net.kind not in LINEAR_KINDS or not all(net.affine_layers):
        raise PrimalFilterError(
            f"net: expected a DLGN whose pre-activations are all affine in the input, so that each "
            f"gate is a straight line, got kind={net.kind!r}. Repair: disentangle(model, "
            f"kind='dlgn'), or gate_crossings along a segment, for ReLU networks too"
        )
    if gates == "model" and not all(isinstance(gate, STEPS) for gate in net.gate_functions):
        kind = type(net.gate_functions[0]).__name__
        raise PrimalFilterError(
            f"gates: expected gates that are constant on either side of 0, got {kind}, under which "
            f"decisions have no straight borders. Repair: partition_slice(..., gates='hard')"
        )


@dataclass(frozen=True, eq=False)
class _Frame:
    """An orthonormal frame of the plane: its origin, two directions, the places of the examples."""

    origin: Tensor
    first: Tensor
    second: Tensor
    examples: np.ndarray

    def at(self, places: np.ndarray) -> Tensor:
        """The inputs (n, ...) at places (n, 2)."""
        s, t = torch.from_numpy(places.T.copy()).view(2, -1, *(1,) * (self.origin.dim() - 1))
        return self.origin + s * self.first + t * self.second


def _frame(a: Tensor, b: Tensor, c: Tensor) -> _Frame:
    along, across = b - a, c - a
    length = float(along.norm())
    first = along / length if length else along
    share = float((across * first).sum())
    rest = across - share * first
    height = float(rest.norm())
    if not length or height <= 1e-9 * max(length, float(across.norm())):
        raise PrimalFilterError(
            "a, b, c: expected three examples that span a plane, got three on one line. Repair: "
            "another example, or gate_crossings(net, a, b) along the line"
        )
    places = np.array([[0.0, 0.0], [length, 0.0], [share, height]])
    return _Frame(a, first, rest / height, places)


def _lines(
    net: GatedNetwork, frame: _Frame, window: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """The gates that pass through the window as lines (p, q, r); which they are (layer, unit)."""
    bends = bends_of(net)
    places = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    with torch.no_grad():
        values = bends.network(frame.at(places))[: bends.n_gates]
    lines, gates = [], []
    for layer, value in enumerate(values):
        q = value.flatten(1).numpy()
        lines.append(np.stack([q[1] - q[0], q[2] - q[0], q[0]], axis=1))
        gates += [(layer, unit) for unit in range(q.shape[1])]
    every = np.concatenate(lines)
    corners = _sides(every, _rectangle(window))
    met = (corners.min(0) < 0) & (corners.max(0) > 0)
    return every[met], np.array(gates).reshape(-1, 2)[met]


def _sides(lines: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values of lines (lines, 3) at places (..., 2): (..., lines)."""
    value: np.ndarray = places @ lines[:, :2].T + lines[:, 2]
    return value


def _rectangle(window: Sequence[float]) -> np.ndarray:
    left, right, bottom, top = window
    return np.array([[left, bottom], [right, bottom], [right, top], [left, top]])


def _cells(lines: np.ndarray, window: Sequence[float], most: int) -> list[np.ndarray]:
    """The convex polygons that the lines cut the window into."""
    cells = [_rectangle(window)]
    thin = SLIVER * max(window[1] - window[0], window[3] - window[2])
    least = SLIVER * _area(cells[0])
    for line in lines:
        reach = thin * float(np.hypot(line[0], line[1]))
        counts = [len(cell) for cell in cells]
        corners = _sides(line[None], np.concatenate(cells))[:, 0]
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        cut = (np.minimum.reduceat(corners, starts) < -reach) & (
            np.maximum.reduceat(corners, starts) > reach
        )
        if not cut.any():
            continue
        parts: list[np.ndarray] = []
        for which in np.flatnonzero(cut):
            values = corners[starts[which] : starts[which] + counts[which]]
            halves = (clipped(cells[which], values), clipped(cells[which], -values))
            parts += [half for half in halves if _area(half) > least]
        cells = [cell for cell, is_cut in zip(cells, cut, strict=True) if not is_cut] + parts
        if len(cells) > most:
            raise PrimalFilterError(
                f"most: expected at most {most:,} cells, found more in a window that "
                f"{len(lines):,} gates cut. Repair: a larger `most`, a smaller margin, examples "
                f"nearer to each other, or a smaller network"
            )
    return cells


def clipped(polygon: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The part of a convex polygon where an affine function is at least 0.

    Args:
        polygon: (corners, 2), or more columns, of what is affine on it too.
        values: (corners,) of the function at the corners.

    >>> clipped(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([-1.0, 1.0, -1.0]))
    array([[0.5, 0. ],
           [1. , 0. ],
           [0.5, 0.5]])
    """
    # Not np.roll, which takes most of the time here.
    after = np.concatenate([polygon[1:], polygon[:1]])
    following = np.concatenate([values[1:], values[:1]])
    corners: list[np.ndarray] = []
    for here, there, value, next_value in zip(polygon, after, values, following, strict=True):
        if value >= 0:
            corners.append(here)
        if value * next_value < 0:
            corners.append(here + value / (value - next_value) * (there - here))
    return np.array(corners).reshape(-1, polygon.shape[1])


def _cell_logits(
    exact: GatedNetwork, frame: _Frame, cells: Sequence[np.ndarray], hard: bool, memory: float
) -> list[np.ndarray]:
    """Logits at the corners of every cell, (corners, outputs), under the gates inside it."""
    middles = np.stack([cell.mean(0) for cell in cells])
    with torch.no_grad():
        one = exact.gates_and_switches(frame.at(middles[:1]), hard=hard)
    held = 8 * sum(part.numel() for parts in one for part in parts) + 8 * frame.origin.numel()
    block = max(1, int(memory / (8 * held)))
    corners, counts = np.concatenate(cells), [len(cell) for cell in cells]
    inside = np.repeat(middles, counts, axis=0)
    blocks = (slice(first, first + block) for first in range(0, len(corners), block))
    logits = [
        logits_at(exact, frame.at(corners[some]), frame.at(inside[some]), hard=hard).numpy()
        for some in blocks
    ]
    return np.split(np.concatenate(logits), np.cumsum(counts)[:-1])


def _decisions(
    cells: Sequence[np.ndarray], logits: Sequence[np.ndarray]
) -> tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray]:
    """Polygons on which one output is the largest, which it is, and the cell they lie in.

    A difference of affine functions that is not negative at all corners is so inside.
    """
    decisions, classes, owners = [], [], []
    for owner, (cell, values) in enumerate(zip(cells, logits, strict=True)):
        for output in _candidates(values):
            part = _won(cell, values, output)
            if _area(part) > SLIVER * _area(cell):
                decisions.append(part)
                classes.append(output)
                owners.append(owner)
    return tuple(decisions), np.array(classes), np.array(owners)


def _candidates(values: np.ndarray) -> list[int]:
    """Outputs that may be the largest somewhere: those that no other one beats at every corner."""
    best = values.min(0).max()  # at least so large is the largest everywhere
    alone = np.flatnonzero((values >= values.max(1, keepdims=True)).all(0))
    if len(alone):  # the first of equal ones, as argmax takes it
        return [int(alone[0])]
    return [int(output) for output in np.flatnonzero(values.max(0) > best)]


def _won(cell: np.ndarray, values: np.ndarray, output: int) -> np.ndarray:
    """The part of the cell where one output is at least as large as every other."""
    part, table = cell, values
    for other in range(values.shape[1]):
        lead = table[:, output] - table[:, other]
        if other < output and (lead == 0).all():  # of equal ones the first, as argmax takes it
            return part[:0]
        if other == output or (lead >= 0).all():
            continue
        joined = np.concatenate([part, table], axis=1)
        joined = clipped(joined, lead)
        part, table = joined[:, :2], joined[:, 2:]
        if len(part) < 3:
            break
    return part


def _area(polygon: np.ndarray) -> float:
    """Of corners counter-clockwise; 0 for fewer than three."""
    if len(polygon) < 3:
        return 0.0
    x, y = polygon[:, 0], polygon[:, 1]
    last = x[-1] * y[0] - y[-1] * x[0]
    return float(x[:-1] @ y[1:] - y[:-1] @ x[1:] + last) / 2
