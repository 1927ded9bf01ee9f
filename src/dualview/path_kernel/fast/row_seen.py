"""What a summand's windows see of a plane: the plane's lines themselves, or copies of them.

Windows meet windows of the same tie. Where all meet all, every line is read many times, so that
copies pay in which each window finds its entries side by side. Where each meets itself alone
(a depthwise convolution), the plane is read as it is, if its windows are shifts of whole lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from dualview.path_kernel.fast.position_maps import NONE, PositionMap, Size
from dualview.path_kernel.fast.row_program import Entry, Summand
from dualview.path_kernel.fast.simd_block import LANES

PIECE = 1 << 12
"""Words of a mask's windows to go through at once, for all positions of the first example."""

FEWEST = 8
"""Blocks of lanes to go through at once at least: shorter writes to far lines wait for memory."""

Starts = Callable[[np.ndarray], np.ndarray]
"""The starts of the lines of flat positions; of a line of zeros for `NONE`."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What `overlap_rows` reads of the source's lines, in pieces.

    Attributes:
        piece: positions of the second example that are gone through at once.
        places: (windows, positions in work) where the first example's windows read.
        lines: those that are copied, the last one of zeros; none: the source itself is read.
        entries: numbers that are copied of a line.
        stride: that of the runs.
        shifts: how far beyond `places` each of the second example's windows reads.
        tables, weights: what is copied of a line, (windows, positions of the second example).
        wanted: the windows that each line is copied for: from where to where.
        runs, first: what is copied of a line in place of that; see `row_taken`.
    """

    piece: int
    places: np.ndarray
    lines: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    entries: int = 0
    stride: int = 1
    shifts: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    tables: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    weights: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    wanted: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    runs: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    first: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def met_windows(ties: np.ndarray | None, windows: int) -> np.ndarray:
    """From where to where those windows are, (windows, 2), that each window meets."""
    known = np.zeros(windows, np.int64) if ties is None else ties
    return _span(known, known)


def piece_of(words: int, count: int) -> int:
    """Positions to go through at once, of so many words; no more than a line of `count` numbers."""
    return min(max(PIECE // max(words, 1) // LANES, FEWEST), count // LANES + 1) * LANES


def _span(ordered: np.ndarray, ties: np.ndarray) -> np.ndarray:
    sides = (np.searchsorted(ordered, ties, side) for side in ("left", "right"))
    return np.stack(list(sides), 1).astype(np.int64)


def seen_of(
    part: Summand, size: Size, words: int, entry: Entry, positions: np.ndarray, starts: Starts
) -> Seen:
    """How a part sees its plane, of `size`, from an entry's positions."""
    window = part.window
    if window is None:
        return Seen(piece_of(words, math.prod(size)), starts(positions)[None])
    if part.ties is not None and window.plain and window.shifts is not None:
        # What a shift reads beyond an edge is multiplied by gates that are 0 there.
        piece, table = piece_of(words * window.taps, math.prod(size)), part.windows[0]
        shifts = window.shifts if part.order is None else window.shifts[part.order]
        return Seen(piece, starts(table[positions].T), shifts=shifts)
    if part.taken is None:
        return _by_tables(part, size, words, positions, starts)
    how = part.taken
    low, high = rows_read(window, entry)
    lines = starts(np.append(np.arange(low * size[1], high * size[1]), NONE))
    table = part.windows[0][positions].T
    places = np.where(table == NONE, len(lines) - 1, table - low * size[1]) * how.entries
    rest = {"shifts": how.shifts, "runs": how.runs, "first": how.first}
    return Seen(how.piece, places, lines, how.entries, how.stride, **rest)


def _by_tables(
    part: Summand, size: Size, words: int, positions: np.ndarray, starts: Starts
) -> Seen:
    """Lines copied for the windows of each tie, entry by entry."""
    table, weight = part.windows
    windows, nothing = table.shape[1], math.prod(size)
    ties = np.zeros(windows, np.int64) if part.ties is None else part.ties
    span = met_windows(ties, windows)
    kinds = int(ties.max()) + 1
    named = np.where(table == NONE, nothing, table)[positions].T * kinds + ties[:, None]
    copied, places = np.unique(named, return_inverse=True)
    lines, tie = np.divmod(copied, kinds)
    lines = starts(np.append(np.where(lines == nothing, NONE, lines), NONE))
    most = int((span[:, 1] - span[:, 0]).max())
    piece = piece_of(max(words * windows, len(lines) * most // (8 * windows)), len(table))
    return Seen(
        piece,
        places.reshape(named.shape) * (most * piece),
        lines,
        most * piece,
        shifts=(np.arange(windows) - span[:, 0]) * piece,
        tables=_filled(np.where(table == NONE, nothing, table), nothing).astype(np.int32),
        weights=_filled(weight, 0.0).astype(np.float32),
        wanted=np.append(_span(ties, tie), [[0, 0]], 0),
    )


def rows_read(over: PositionMap, entry: Entry) -> tuple[int, int]:
    """First row and last + 1 that a map reads for an entry's rows."""
    rows = over.rows.source[entry.start : entry.stop]
    inside = rows[rows != NONE]
    return (int(inside.min()), int(inside.max()) + 1) if inside.size else (0, 0)


def _filled(table: np.ndarray, value: float) -> np.ndarray:
    """(positions, taps) as (taps, positions), with more of `value`, up to a line's length."""
    more = (len(table) // LANES + 1) * LANES - len(table)
    return np.ascontiguousarray(np.pad(table, ((0, more), (0, 0)), constant_values=value).T)
