"""Runs a `RowProgram` on pairs of examples: batches of pairs, rows after rows.

A pair's planes stay within the bound on memory: fewer rows at once, fewer pairs at once. Where
pairs are fewer than threads, threads share the rows in work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualview.path_kernel.fast.position_maps import NONE, PositionMap
from dualview.path_kernel.fast.row_kernel import (
    diagonal,
    mapped_rows,
    moved_columns,
    overlap_rows,
    shifted_windows,
    tabled_windows,
)
from dualview.path_kernel.fast.row_program import (
    Diagonal,
    Entry,
    Layer,
    Mapping,
    Overlap,
    Part,
    RowProgram,
    Schedule,
    Windows,
    pitch,
    schedule,
)
from dualview.path_kernel.fast.simd_block import LANES, ROWS

BLOCKS = (1 << 18, 1 << 16, 1 << 14, 1)
"""Numbers of a plane to make at once: about what a core's cache holds, or less to save memory."""

BATCH = 1 << 19
"""Numbers of a batch's largest plane at most: more pairs at once save calls, and leave the cache."""

Spread = Callable[[Callable[[int, int], None], int], None]
"""`spread(make, n)` calls make(start, stop) for pieces of range(n), each a multiple of ROWS."""


@dataclass(frozen=True)
class Packed:
    """Masks of some examples, flat, and the words of each: None where no operation reads one."""

    masks: list[np.ndarray | None]
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
        size = -(-n // threads // ROWS) * ROWS
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
            np.zeros(self._subplanes(plane.groups) * size + LANES, np.float32)
            for plane, size in zip(program.planes, self.sizes, strict=True)
        ]
        self.scratch = np.zeros(0, np.float32)

    def run(self) -> np.ndarray:
        """(pairs,)"""
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

    def _out(self, plane: int, entry: Entry) -> tuple[np.ndarray, np.ndarray]:
        """The positions in work, and the starts of their lines with spare ones behind."""
        width = self.program.planes[plane].size[1]
        positions = np.arange(entry.start * width, entry.stop * width)
        spare = self.sizes[plane] - self.pitches[plane]
        at = np.concatenate([self._lines(plane, positions), np.full(ROWS, spare)])
        return positions, at.astype(np.int64)

    # Operations

    def overlap(self, it: Overlap, entry: Entry) -> None:
        """Part after part."""
        for number, part in enumerate(it.parts):
            self._part(it, part, entry, number > 0)

    def _part(self, it: Overlap, part: Part, entry: Entry, add: bool) -> None:
        target, step = self.program.planes[it.target], self.pitches[it.target]
        positions, at_out = self._out(it.target, entry)
        words, windows = 0, 1
        left = right = _NO_MASK
        if part.mask is not None:
            words, windows = self.left.words[part.mask], self.left.windows[part.mask]
            left, right = self.left.masks[part.mask], self.right.masks[part.mask]
        weights = np.ones((windows, len(at_out)), np.float32)
        source, in_size, in_groups, apart = _NO_PLANE, 0, 1, 0
        at_in = np.zeros((windows, len(at_out)), np.int64)
        if part.source is not None:
            in_groups = self.program.planes[part.source].groups
            source, in_size = self.planes[part.source], self.sizes[part.source]
            spare = in_size - 2 * self.pitches[part.source]
            at_in[:] = spare
            if part.window is None:
                at_in[0, : len(positions)] = self._lines(part.source, positions)
            else:
                source, in_size, apart = self._columns(part.source, part.window, entry, step, True)
                at_in[:] = apart - step
                found = self._scratch_lines(part.window, entry, positions, step)
                at_in[:, : len(positions)] = np.where(found == NONE, apart - step, found).T
                weights[:, : len(positions)] = part.window.flat()[1][positions].T
        groups, met = np.zeros((len(part.groups), 3), np.int64), set()
        for row, (of_source, of_target) in zip(groups, part.groups, strict=True):
            row[:] = of_source, of_target, of_target not in met
            met.add(of_target)
        scales = np.array(
            [part.scale, it.layer.slope, *part.constant, *it.layer.bias], np.float32
        )
        fixed = (step, self.copies, int(add), windows, words, int(part.source is None))
        rest = (in_size, in_groups, self.sizes[it.target], target.groups, apart, positions[0])

        def make(start: int, stop: int) -> None:
            overlap_rows(
                tuple(int(n) for n in (start, stop, *fixed, *rest)),
                scales,
                groups,
                self.first,
                self.second,
                left,
                right,
                source,
                self.planes[it.target],
                at_in.reshape(-1),
                at_out,
                weights.reshape(-1),
            )

        self.spread(make, len(positions))

    def windows(self, it: Windows, entry: Entry) -> None:
        """A convolution, by shifts of whole lines where its stride and padding allow it."""
        target, source = self.program.planes[it.target], self.program.planes[it.source]
        positions, at_out = self._out(it.target, entry)
        table, _ = it.map.flat()
        at_in = np.full((table.shape[1], len(at_out)), self.sizes[it.source] - 2 * self.pitches[it.source])
        at_in[:, : len(positions)] = self._lines(it.source, table[positions].T)
        shape = (
            self.pitches[it.source],
            self.copies,
            len(self.first),
            target.groups,
            self.sizes[it.source],
            self.sizes[it.target],
        )
        scales = _scales(it.scale, it.layer)
        shifts = _shifts(it.map) if target.size == source.size else None
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
        scratch, in_size, apart = self._columns(it.source, it.map, entry, step, False)
        found = self._scratch_lines(it.map, entry, positions, step)
        at_in = np.full((it.map.taps, len(at_out)), apart - step)
        at_in[:, : len(positions)] = np.where(found == NONE, apart - step, found).T
        weights = np.zeros((it.map.taps, len(at_out)), np.float32)
        weights[:, : len(positions)] = it.map.flat()[1][positions].T
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
        diagonal(
            shape, float(it.scale), self.planes[it.source], self.planes[it.target], at_in, 0
        )

    # Columns of the second example's positions

    def _columns(
        self, plane: int, over: PositionMap, entry: Entry, step: int, apart: bool
    ) -> tuple[np.ndarray, int, int]:
        """The rows a map reads with their columns mapped: one copy a tap, or the sum of all.

        Returns the scratch memory, the length of a sub-plane, and that of a copy; each copy ends in
        a line of zeros.
        """
        it = self.program.planes[plane]
        low, high = _rows_read(over, entry)
        count = (high - low) * it.size[1]
        copies = over.taps if apart else 1
        one = (count + 1) * step
        planes = self._subplanes(it.groups)
        if len(self.scratch) < planes * copies * one + LANES:
            self.scratch = np.zeros(planes * copies * one + LANES, np.float32)
        scratch = self.scratch
        whole = scratch[: planes * copies * one].reshape(planes, copies, count + 1, step)
        table, weight = over.flat()
        size = math.prod(it.size)
        whole[:, :, -1] = 0
        whole[:, :, :, len(table) :] = 0
        columns = np.ascontiguousarray(np.where(table == NONE, size, table).T, np.int32)
        factors = np.ascontiguousarray(weight.T, np.float32)
        lines_in = self._lines(plane, np.arange(low * it.size[1], high * it.size[1]))
        lines_out = np.arange(count, dtype=np.int64) * step
        shape = self.pitches[plane], planes, self.sizes[plane], step, copies * one

        def make(start: int, stop: int) -> None:
            moved_columns(
                (start, stop, *shape, one if apart else 0),
                columns,
                factors,
                self.planes[plane],
                scratch,
                lines_in,
                lines_out,
            )

        self.spread(make, count)
        return scratch, copies * one, one

    def _scratch_lines(
        self, over: PositionMap, entry: Entry, positions: np.ndarray, step: int
    ) -> np.ndarray:
        """Starts of the scratch lines that each position reads, or `NONE`: (positions, taps)."""
        low, _ = _rows_read(over, entry)
        places = over.flat()[0][positions]
        return np.where(places == NONE, NONE, (places - low * over.before[1]) * step)


_MAKERS: dict[type, Any] = {
    Overlap: _Batch.overlap,
    Windows: _Batch.windows,
    Mapping: _Batch.mapping,
    Diagonal: _Batch.diagonal,
}
_NO_MASK = np.zeros(1, np.uint32)
_NO_PLANE = np.zeros(1, np.float32)


def _scales(scale: float, layer: Layer) -> np.ndarray:
    return np.array([scale, layer.slope, 0, 0, *layer.bias], np.float32)


def _rows_read(over: PositionMap, entry: Entry) -> tuple[int, int]:
    """First row and last + 1 that a map reads for an entry's rows."""
    rows = over.rows.source[entry.start : entry.stop]
    inside = rows[rows != NONE]
    return (int(inside.min()), int(inside.max()) + 1) if inside.size else (0, 0)


def _shifts(over: PositionMap) -> tuple[np.ndarray, np.ndarray] | None:
    """Each tap as a shift of whole lines, if it is one: what `shifted_windows` reads."""
    height, width = over.before
    axes = []
    for axis, size in ((over.rows, height), (over.columns, width)):
        steps = []
        for tap in axis.source.T:
            inside = np.flatnonzero(tap != NONE)
            moved = tap[inside] - inside
            if inside.size == 0:
                steps.append(None)
                continue
            reach = (np.arange(size) + moved[0] >= 0) & (np.arange(size) + moved[0] < size)
            if (moved != moved[0]).any() or (reach != (tap != NONE)).any():
                return None
            steps.append(int(moved[0]))
        axes.append(steps)
    count = height * width
    tables, masks = [], []
    for dy in axes[0]:
        for dx in axes[1]:
            if dy is None or dx is None:
                tables.append((0, 0, 0, 1))
                masks.append(np.zeros(count, np.float32))
                continue
            shift = dy * width + dx
            x = np.arange(count) % width + dx
            tables.append((shift, max(0, -shift), min(count, count - shift), int(dx == 0)))
            masks.append(((x >= 0) & (x < width)).astype(np.float32))
    return np.array(tables, np.int64), np.array(masks)


def _scratch_numbers(program: RowProgram, order: Schedule) -> int:
    """The most numbers that mapped columns take for one pair."""
    most = 0
    for entry in order.entries:
        operation = program.operations[entry.operation]
        step = pitch(program.planes[operation.target], LANES)
        if isinstance(operation, Overlap):
            maps = [(p.source, p.window, p.window.taps) for p in operation.parts if p.window]
        elif isinstance(operation, Mapping):
            maps = [(operation.source, operation.map, 1)]
        else:
            continue
        for plane, over, copies in maps:
            low, high = _rows_read(over, entry)
            it = program.planes[plane]
            lines = (high - low) * it.size[1] + 1
            most = max(most, program.copies * it.groups * copies * lines * step)
    return most


