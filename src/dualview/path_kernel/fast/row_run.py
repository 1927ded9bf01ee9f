"""Runs a `RowProgram` on pairs of examples: batches of pairs, rows after rows.

A pair's planes stay within the bound on memory: fewer rows at once, fewer pairs at once. Where
pairs are fewer than threads, threads share the rows in work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dualview.path_kernel.fast.position_maps import NONE, PositionMap
from dualview.path_kernel.fast.row_kernel import (
    diagonal,
    mapped_columns,
    mapped_rows,
    overlap_rows,
    shifted_windows,
    tabled_windows,
)
from dualview.path_kernel.fast.row_program import (
    Diagonal,
    Entry,
    Mapping,
    Overlap,
    RowProgram,
    RowWindows,
    Schedule,
    Summand,
    pitch,
    schedule,
)
from dualview.path_kernel.fast.row_seen import Seen, met_windows, piece_of, rows_read, seen_of
from dualview.path_kernel.fast.simd_block import LANES, ROWS

BLOCKS = (1 << 18, 1 << 16, 1 << 14, 1)
"""Numbers of a plane to make at once: about what a core's cache holds, or less to save memory."""

BATCH = 1 << 19
"""Numbers of a batch's largest plane at most: more pairs save calls, and leave the cache."""

Spread = Callable[[Callable[[int, int], None], int], None]
"""`spread(make, n)` calls make(start, stop) for pieces of range(n), each a multiple of ROWS."""


@dataclass(frozen=True)
class Packed:
    """Masks of some examples, flat, with the words and windows of each."""

    masks: list[np.ndarray]
    words: list[int]
    windows: list[int]


@dataclass(frozen=True)
class Arrangement:
    """How a program is run: its schedule, and how many pairs go together."""

    schedule: Schedule
    batch: int
    bytes_each: int


def arrangement(program: RowProgram, memory: float) -> Arrangement:
    """The largest blocks of rows and pairs that stay within `memory` bytes; else the smallest."""
    for block in BLOCKS:
        order = schedule(program, block, LANES)
        each = 4 * (order.numbers(program, LANES) + _scratch_numbers(program, order))
        if each <= memory:
            break
    largest = max(
        plane.groups * min(held, plane.size[0]) * plane.size[1] * pitch(plane, LANES)
        for plane, held in zip(program.planes, order.held, strict=True)
    )
    batch = max(1, min(int(memory / each), BATCH // max(largest * program.copies, 1)))
    return Arrangement(order, batch, each)


def run(
    program: RowProgram,
    plan: Arrangement,
    left: Packed,
    right: Packed,
    pairs: Sequence[tuple[int, int]],
    threads: int = 1,
) -> np.ndarray:
    """The kernel (pairs,) of pairs of the packed examples: the NTK's where there are two copies."""
    chunks = [pairs[at : at + plan.batch] for at in range(0, len(pairs), plan.batch)]
    if threads > 1 and len(chunks) < threads and len(pairs) > 1:
        size = -(-len(pairs) // threads)
        chunks = [pairs[at : at + size] for at in range(0, len(pairs), size)]
    if threads <= 1 or len(chunks) >= threads:
        with ThreadPoolExecutor(max(1, min(threads, len(chunks)))) as pool:
            parts = pool.map(
                lambda chunk: _Batch(program, plan.schedule, left, right, chunk, _alone).run(),
                chunks,
            )
            return np.concatenate(list(parts))
    with ThreadPoolExecutor(threads) as pool:
        spread = _over(pool, threads)
        parts = (_Batch(program, plan.schedule, left, right, c, spread).run() for c in chunks)
        return np.concatenate(list(parts))


def _alone(make: Callable[[int, int], None], n: int) -> None:
    make(0, n)


def _over(pool: ThreadPoolExecutor, threads: int) -> Spread:
    def spread(make: Callable[[int, int], None], n: int) -> None:
        size = -(-n // threads // LANES) * LANES
        starts = range(0, n, size)
        list(pool.map(lambda start: make(start, min(start + size, n)), starts))

    return spread


class _Batch:
    """The planes of some pairs, and what makes their rows."""

    def __init__(
        self,
        program: RowProgram,
        order: Schedule,
        left: Packed,
        right: Packed,
        pairs: Sequence[tuple[int, int]],
        spread: Spread,
    ) -> None:
        self.program, self.order, self.spread = program, order, spread
        self.left, self.right = left, right
        self.first = np.array([pair[0] for pair in pairs], np.int64)
        self.second = np.array([pair[1] for pair in pairs], np.int64)
        self.copies = program.copies
        self.pitches = [pitch(plane, LANES) for plane in program.planes]
        self.sizes = [
            (held * plane.size[1] + 2) * step if held else 0
            for plane, held, step in zip(program.planes, order.held, self.pitches, strict=True)
        ]
        self.planes = [
            _with_margins(self._subplanes(plane.groups) * size, step)
            for plane, size, step in zip(program.planes, self.sizes, self.pitches, strict=True)
        ]
        self.scratch = np.zeros(0, np.float32)

    def run(self) -> np.ndarray:
        """The kernel (pairs,)."""
        for entry in self.order.entries:
            operation = self.program.operations[entry.operation]
            _MAKERS[type(operation)](self, operation, entry)
        last = self.program.operations[-1].target
        values = self.planes[last][: len(self.first) * self.copies * self.sizes[last]]
        return values.reshape(len(self.first), self.copies, -1)[:, -1, 0].copy()

    def _subplanes(self, groups: int) -> int:
        return len(self.first) * self.copies * groups

    # Lines

    def _lines(self, plane: int, positions: np.ndarray) -> np.ndarray:
        """Starts of the lines of flat positions in a sub-plane; the line of zeros for `NONE`."""
        width, held = self.program.planes[plane].size[1], self.order.held[plane]
        y, x = np.divmod(positions, width)
        lines = (y % held) * width + x
        return np.where(positions == NONE, held * width, lines) * self.pitches[plane]

    def _out(self, plane: int, entry: Entry, lead: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The positions in work, and the starts of their lines: `lead` spare ones before them.

        Behind them is one spare line at least, and as many as blocks of rows need.
        """
        width = self.program.planes[plane].size[1]
        positions = np.arange(entry.start * width, entry.stop * width)
        spare = self.sizes[plane] - self.pitches[plane]
        count = -(-(lead + len(positions)) // ROWS) * ROWS
        at = np.full(count, spare)
        at[lead : lead + len(positions)] = self._lines(plane, positions)
        return positions, at

    # Operations

    def overlap(self, it: Overlap, entry: Entry) -> None:
        """Summand after part."""
        for number, part in enumerate(it.parts):
            self._part(it, part, entry, number > 0)

    def _part(self, it: Overlap, part: Summand, entry: Entry, add: bool) -> None:
        """Add one part of an overlap into a piece of its plane, on all threads."""
        target, step = self.program.planes[it.target], self.pitches[it.target]
        lead = entry.start * target.size[1] % ROWS  # blocks of masks start at multiples of ROWS
        positions, at_out = self._out(it.target, entry, lead)
        within = slice(lead, lead + len(positions))
        words, windows = 0, 1
        left: np.ndarray = _NO_MASK
        right: np.ndarray = _NO_MASK
        if part.mask is not None:
            words, windows = self.left.words[part.mask], self.left.windows[part.mask]
            left, right = self.left.masks[part.mask], self.right.masks[part.mask]
        source, in_size, in_groups = _NO_PLANE, 0, 1
        at_in = np.zeros((windows, len(at_out)), np.int64)
        weights: np.ndarray = _NO_PLANE
        seen = Seen(piece_of(words * windows, step - LANES), at_in)
        if part.source is not None:
            plane = self.program.planes[part.source]
            in_groups = plane.groups
            source, in_size = self.planes[part.source], self.sizes[part.source]
            starts = partial(self._lines, part.source)
            seen = seen_of(part, plane.size, words, entry, positions, starts)
            nowhere = starts(np.array(NONE))
            at_in[:] = (len(seen.lines) - 1) * seen.entries if len(seen.lines) else nowhere
            at_in[:, within] = seen.places
            if part.window is not None and not part.window.plain:
                weights = np.ones(at_in.shape, np.float32)
                weights[:, within] = part.windows[1][positions].T
        slope = it.layer.slope + part.slope
        scales = np.array([part.scale, slope, *part.constant, *it.layer.bias], np.float32)
        fixed = (seen.piece, self.copies, int(add), windows, words, int(part.source is None))
        planes = (in_size, in_groups, self.sizes[it.target], target.groups)
        rest = (words * step, int(positions[0]) - lead, int(len(weights) > 1))
        groups, span = _groups(part), met_windows(part.ties, windows)

        def make(start: int, stop: int) -> None:
            overlap_rows(
                (start, stop, *fixed, *planes, *rest),
                scales,
                groups,
                (self.first, self.second),
                (left, right),
                (source, self.planes[it.target]),
                (at_in.reshape(-1), at_out, weights.reshape(-1)),
                (seen.lines, seen.entries, seen.stride),
                (seen.shifts, seen.tables, seen.weights, seen.runs, seen.first),
                (span, seen.wanted),
            )

        self.spread(make, step)

    def windows(self, it: RowWindows, entry: Entry) -> None:
        """A convolution, by shifts of whole lines where its stride and padding allow it."""
        target, source = self.program.planes[it.target], self.program.planes[it.source]
        positions, at_out = self._out(it.target, entry)
        table, _ = it.map.flat
        at_in = np.full(
            (table.shape[1], len(at_out)), self.sizes[it.source] - 2 * self.pitches[it.source]
        )
        at_in[:, : len(positions)] = self._lines(it.source, table[positions].T)
        shape = (
            self.pitches[it.source],
            self.copies,
            len(self.first),
            target.groups,
            self.sizes[it.source],
            self.sizes[it.target],
        )
        law = it.layer
        scales = np.array([it.scale, law.slope, 0, 0, *law.bias], np.float32)
        shifts = it.shifts if target.size == source.size else None
        if shifts is None:
            columns = np.where(table == NONE, math.prod(source.size), table).T.astype(np.int32)
            tables: tuple[np.ndarray, ...] = (np.ascontiguousarray(columns),)
            function = tabled_windows
        else:
            tables, function = shifts, shifted_windows

        def make(start: int, stop: int) -> None:
            function(
                (start, stop, *shape),
                *tables,
                self.planes[it.source],
                self.planes[it.target],
                at_in.reshape(-1),
                at_out,
                scales,
            )

        self.spread(make, len(positions))

    def mapping(self, it: Mapping, entry: Entry) -> None:
        """Columns first, then rows."""
        target = self.program.planes[it.target]
        positions, at_out = self._out(it.target, entry)
        step = self.pitches[it.target]
        scratch, in_size, places = self._columns(it.source, it.map, entry, positions, step)
        at_in = np.full((it.map.taps, len(at_out)), in_size - step)
        at_in[:, : len(positions)] = places.T
        weights = np.zeros((it.map.taps, len(at_out)), np.float32)
        weights[:, : len(positions)] = it.map.flat[1][positions].T
        planes = self._subplanes(target.groups)
        shape = math.prod(target.size), planes, in_size, self.sizes[it.target]

        def make(start: int, stop: int) -> None:
            mapped_rows(
                (start, stop, *shape),
                weights,
                scratch,
                self.planes[it.target],
                at_in.reshape(-1),
                at_out,
            )

        self.spread(make, len(positions))

    def diagonal(self, it: Diagonal, entry: Entry) -> None:
        """The sum over equal positions."""
        source = self.program.planes[it.source]
        at_in = self._lines(it.source, np.arange(math.prod(source.size)))
        shape = self._subplanes(source.groups), self.sizes[it.source], self.sizes[it.target]
        diagonal(shape, float(it.scale), self.planes[it.source], self.planes[it.target], at_in, 0)

    # Columns of the second example's positions

    def _columns(
        self, plane: int, over: PositionMap, entry: Entry, positions: np.ndarray, step: int
    ) -> tuple[np.ndarray, int, np.ndarray]:
        """The rows that a map reads, with their columns mapped.

        Returns the scratch memory, the length of a sub-plane (a line of zeros is its last one), and
        the starts of the lines that each position reads.
        """
        it = self.program.planes[plane]
        low, high = rows_read(over, entry)
        count = (high - low) * it.size[1]
        one, planes = (count + 1) * step, self._subplanes(it.groups)
        scratch = np.zeros(planes * one, np.float32)
        table, weight = over.flat
        columns = np.where(table == NONE, math.prod(it.size), table)
        lines_in = self._lines(plane, np.arange(low * it.size[1], high * it.size[1]))
        lines_out = np.arange(count, dtype=np.int64) * step
        shape = self.pitches[plane], planes, self.sizes[plane], one

        def make(start: int, stop: int) -> None:
            mapped_columns(
                (start, stop, *shape),
                np.ascontiguousarray(columns.T, np.int32),
                np.ascontiguousarray(weight.T, np.float32),
                self.planes[plane],
                scratch,
                lines_in,
                lines_out,
            )

        self.spread(make, count)
        places = table[positions]
        lines = np.where(places == NONE, count, places - low * it.size[1])
        return scratch, one, lines * step


_MAKERS: dict[type, Any] = {
    Overlap: _Batch.overlap,
    RowWindows: _Batch.windows,
    Mapping: _Batch.mapping,
    Diagonal: _Batch.diagonal,
}


def _with_margins(numbers: int, margin: int) -> np.ndarray:
    """So many zeros, with memory around them that windows may read beyond the first and last."""
    return np.zeros(margin + numbers + margin + LANES, np.float32)[margin:]


_NO_MASK = np.zeros(1, np.uint32)
_NO_PLANE = np.zeros(1, np.float32)


def _groups(part: Summand) -> np.ndarray:
    """Group of the source, group of the target, whether it is the first one for that."""
    targets = [of_target for _, of_target in part.groups]
    first = [target not in targets[:at] for at, target in enumerate(targets)]
    return np.array([(*pair, new) for pair, new in zip(part.groups, first, strict=True)], np.int64)


def _scratch_numbers(program: RowProgram, order: Schedule) -> int:
    """The most numbers that mapped columns take for one pair."""
    most = 0
    for entry in order.entries:
        operation = program.operations[entry.operation]
        if isinstance(operation, Mapping):
            low, high = rows_read(operation.map, entry)
            it = program.planes[operation.source]
            lines = (high - low) * it.size[1] + 1
            step = pitch(program.planes[operation.target], LANES)
            most = max(most, program.copies * it.groups * lines * step)
    return most
