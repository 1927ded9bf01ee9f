"""What windows take of a plane's line: copies in which every tap finds its entries side by side.

A max pool of stride 2 reads every second entry of a line, in nine ways. The line's even and odd
entries are copied apart, once for each row of the windows; the nine taps read from six such streams
then, each from a place of its own on. A piece of the line is copied at a time, as long as what all
lines give to a row of windows stays in a core's cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualview.path_kernel.fast.position_maps import NONE, Axis, PositionMap

PIECE = 64
"""Pieces are multiples of it, so that they are of a block's lanes."""

CACHE = 1 << 17
"""Numbers that a row of windows takes of all lines, in one piece: half of a core's cache."""


@dataclass(frozen=True, eq=False)
class Taken:
    """Copies of a line, piece after piece.

    Attributes:
        piece: windows of a piece.
        entries: numbers of a copy.
        stride: entries of the line from one number of a run to the next.
        runs: (runs, 3): where in the copy, from which entry of the line on, how many.
        first: (pieces + 1,) the first run of each piece.
        shifts: for each tap of the windows, where it reads the copy for the piece's first window.
    """

    piece: int
    entries: int
    stride: int
    runs: np.ndarray
    first: np.ndarray
    shifts: np.ndarray


def taken(window: PositionMap) -> Taken | None:
    """The copies for windows that all look alike; None where they do not."""
    rows, columns = _taps(window.rows), _taps(window.columns)
    if rows is None or columns is None or not window.plain:
        return None
    height, width = window.size
    copies, copy_of_tap = _copies(columns, window.columns, width)
    margin = max(abs(shift) for _, shift in copy_of_tap)
    lines = (max(rows.offsets) - min(rows.offsets) + 1) * window.before[1]
    streams = [(y, x) for y in rows.offsets for x in copies]
    longest = -(-(height * width + 1) // PIECE) * PIECE
    piece = min(max(CACHE // (lines * len(streams)) // PIECE * PIECE, PIECE), longest)
    one = piece + 2 * margin
    starts = piece * np.arange(height * width // piece + 1)
    at = starts[:, None] + np.arange(-margin, piece + margin)
    at = np.where((at < 0) | (at >= height * width), NONE, at)
    table = np.concatenate([_stream(window, (rows, columns), at, s) for s in streams], 1)
    runs, first = _runs(table, one, columns.stride)
    shifts = [
        (tap * len(copies) + copy) * one + margin + shift
        for tap in range(len(rows.offsets))
        for copy, shift in copy_of_tap
    ]
    return Taken(piece, one * len(streams), columns.stride, runs, first, np.array(shifts, np.int64))


@dataclass(frozen=True)
class _Taps:
    """Windows that all look alike: window i reads `stride * i + offset` for each offset."""

    stride: int
    offsets: tuple[int, ...]


def _taps(axis: Axis) -> _Taps | None:
    """The taps of one axis, if all windows have the same; what is outside may be left out."""
    steps: set[int] = set()
    firsts = []
    for tap in axis.source.T:
        inside = np.flatnonzero(tap != NONE)
        moved, apart = np.diff(tap[inside]), np.diff(inside)
        if (moved % apart).any():
            return None
        steps |= set((moved // apart).tolist())
        firsts.append((int(inside[0]), int(tap[inside[0]])) if len(inside) else (0, 0))
    if len(steps) > 1 or min(steps, default=1) < 1:
        return None
    stride = steps.pop() if steps else 1
    return _Taps(stride, tuple(position - stride * window for window, position in firsts))


def _copies(taps: _Taps, axis: Axis, width: int) -> tuple[list[int], list[tuple[int, int]]]:
    """The offsets of copies that serve all taps; and for each tap its copy, and its shift there.

    A tap may read a copy that another one needs, from some entries further on: what it reads of the
    next line of windows then, its own windows must leave out.
    """
    orders = range(len(taps.offsets)), reversed(range(len(taps.offsets)))
    tried = [_copies_in_order(taps, axis, width, list(order)) for order in orders]
    return min(tried, key=lambda found: len(found[0]))


def _copies_in_order(
    taps: _Taps, axis: Axis, width: int, order: list[int]
) -> tuple[list[int], list[tuple[int, int]]]:
    """Where copies of a row begin, taps taken in `order`; (copy, shift) of each tap."""
    copies: list[int] = []
    of_tap = {}
    for tap in order:
        for copy, begin in enumerate(copies):
            shift, rest = divmod(taps.offsets[tap] - begin, taps.stride)
            windows = np.arange(width) + shift
            outside = (windows < 0) | (windows >= width)
            if rest == 0 and (axis.source[outside, tap] == NONE).all():
                of_tap[tap] = copy, shift
                break
        else:
            of_tap[tap] = len(copies), 0
            copies.append(taps.offsets[tap])
    return copies, [of_tap[tap] for tap in range(len(order))]


def _stream(
    window: PositionMap, taps: tuple[_Taps, _Taps], at: np.ndarray, offsets: tuple[int, int]
) -> np.ndarray:
    """Positions that windows `at` (`NONE`: none) read at one offset of rows and of columns."""
    (height, width), places = window.before, np.divmod(at, window.size[1])
    y, x = (t.stride * p + o for t, p, o in zip(taps, places, offsets, strict=True))
    inside = (at != NONE) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return np.where(inside, y * width + x, NONE)


def _runs(table: np.ndarray, one: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """A table (pieces, streams of length `one`) as runs, and where each piece's runs begin."""
    pieces, entries = np.nonzero(table != NONE)
    of = table[pieces, entries]
    joined = (np.diff(pieces) == 0) & (np.diff(entries) == 1) & (np.diff(of) == stride)
    joined &= entries[1:] % one != 0
    begin = np.append(0, np.flatnonzero(~joined) + 1)
    count = np.diff(np.append(begin, len(of)))
    runs = np.stack([entries[begin], of[begin], count], 1).astype(np.int64)
    first = np.searchsorted(pieces[begin], np.arange(len(table) + 1))
    return runs, first.astype(np.int64)
