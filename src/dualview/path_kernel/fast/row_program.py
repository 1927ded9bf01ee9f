"""What the row kernel computes: planes, the operations that make them, and in which order.

A **plane** is the kernel K[p, q] of one value for one pair of examples: for each of the first
example's positions p a row over the second's positions q. All operations make rows of a plane from
rows of others, so a plane is never whole: images are gone through from top to bottom, and of every
plane those rows are held that some operation still reads (`Schedule`). What is held does not depend
on the height of the images, and may be bounded.

Each operation is what one of the rules of theory, section 4.5, does to a kernel:

    Overlap    K'[p, q] = sum_t scale_t K_t[p, q] <left_t[:, p], right_t[:, q]>   sums channels
    RowWindows    K'[p, q] = scale sum_d K[s p + d, s q + d] + bias                  a convolution
    Mapping    K'[p, q] = sum_u sum_v L[p, u] L[q, v] K[u, v]                     pooling
    Diagonal   K'       = scale sum_p K[p, p]                                     flatten

With `copies` = 2 every plane has the NTK's kernel beside the NPK's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from dualview.path_kernel.fast.factors import Factor
from dualview.path_kernel.fast.position_maps import NONE, Axis, PositionMap, Size
from dualview.path_kernel.fast.row_taken import Taken

TENSORS = 4
"""How often a factor is held while it is moved, multiplied and packed."""


@dataclass(frozen=True)
class Plane:
    """Positions of a kernel, and the groups of channels that have one each."""

    size: Size
    groups: int = 1


@dataclass(frozen=True, eq=False)
class Mask:
    """A factor of both examples, its channels, and how many groups these are summed in."""

    factor: Factor
    channels: int
    groups: int


@dataclass(frozen=True, eq=False)
class Summand:
    """One term of an `Overlap`.

    Attributes:
        source: its plane, or None where the kernel is a constant.
        mask: number of its mask, or None where the factor is 1.
        scale: what it is multiplied by.
        groups: (of the source, of the target), for each group of the mask.
        window: the places of the source that its mask's windows see; None: its own position.
        constant: the kernel (and NTK) where there is no source.
        taken: how windows that all look alike take what they see of the source's lines.
        order: that of the mask's windows, by their ties; None: that of the map's taps.
        ties: for each of the windows the random number that it is multiplied by: only windows with
            the same one meet. None: all windows do.
        slope: what a weight layer that this term has met adds of the kernel to the NTK.
    """

    source: int | None
    mask: int | None
    scale: float
    groups: tuple[tuple[int, int], ...]
    window: PositionMap | None = None
    constant: tuple[float, float] = (0.0, 0.0)
    taken: Taken | None = None
    order: np.ndarray | None = None
    ties: np.ndarray | None = None
    slope: float = 0.0

    @property
    def taps(self) -> int:
        """How many windows its mask sees."""
        return 1 if self.window is None else self.window.taps

    @property
    def pairs(self) -> int:
        """How many pairs of the two examples' windows meet."""
        return met_pairs(self.window, self.ties)

    @property
    def windows(self) -> tuple[np.ndarray, np.ndarray]:
        """What the windows read, and with which weights: (positions, windows)."""
        assert self.window is not None
        source, weight = self.window.flat
        if self.order is None:
            return source, weight
        return source[:, self.order], weight[:, self.order]


@dataclass(frozen=True, eq=False)
class Overlap:
    """Sums the channels of a sum of terms, in each of the target's groups.

    `layer`: what a weight layer of one position (a dense layer, a 1 x 1 convolution) does next.
    """

    target: int
    parts: tuple[Summand, ...]
    layer: Layer


@dataclass(frozen=True)
class Layer:
    """A weight layer: K' = K + bias[0], NTK' = NTK + slope K + bias[1], both after `scale`."""

    slope: float = 0.0
    bias: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, eq=False)
class RowWindows:
    """A convolution: the sum over the taps that both positions read at once."""

    target: int
    source: int
    map: PositionMap
    scale: float
    layer: Layer

    @cached_property
    def shifts(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Each tap as a shift of whole lines, if it is one: what `shifted_windows` reads."""
        over = self.map
        height, width = over.before
        axes = []
        for axis, size in ((over.rows, height), (over.columns, width)):
            if axis.steps is None:
                return None
            for step, tap in zip(axis.steps, axis.source.T, strict=True):
                at = np.arange(size) + (step or 0)
                if step is not None and ((at >= 0) & (at < size) != (tap != NONE)).any():
                    return None
            axes.append(axis.steps)
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


@dataclass(frozen=True, eq=False)
class Mapping:
    """A linear map over both positions."""

    target: int
    source: int
    map: PositionMap


@dataclass(frozen=True, eq=False)
class Diagonal:
    """The sum over equal positions."""

    target: int
    source: int
    scale: float


Operation = Overlap | RowWindows | Mapping | Diagonal


@dataclass
class RowProgram:
    """A network as operations on planes, the last of which makes the kernel itself."""

    copies: int
    planes: list[Plane] = field(default_factory=list)
    masks: list[Mask] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)


def pitch(plane: Plane, lanes: int) -> int:
    """Numbers from one row of a plane to the next: there is a 0 behind every row."""
    return (math.prod(plane.size) // lanes + 1) * lanes


def sources(operation: Operation) -> list[tuple[int, Axis | None]]:
    """The planes an operation reads, each with the map of its rows (None: row for row)."""
    if isinstance(operation, Overlap):
        return [
            (part.source, None if part.window is None else part.window.rows)
            for part in operation.parts
            if part.source is not None
        ]
    if isinstance(operation, Diagonal):
        return []
    return [(operation.source, operation.map.rows)]


@dataclass(frozen=True)
class Entry:
    """Rows `start` to `stop` of an operation's target."""

    operation: int
    start: int
    stop: int


@dataclass(frozen=True)
class Schedule:
    """In which order rows are made, and how many rows of each plane are held at once."""

    entries: tuple[Entry, ...]
    held: tuple[int, ...]

    def numbers(self, program: RowProgram, lanes: int) -> int:
        """How many numbers the planes of one pair take (two rows more: one of zeros, one spare)."""
        return program.copies * sum(
            plane.groups * (held * plane.size[1] + 2) * pitch(plane, lanes)
            for plane, held in zip(program.planes, self.held, strict=True)
            if held
        )


class _Reads:
    """The rows that an operation reads of a plane, for each row that it makes."""

    def __init__(self, axis: Axis | None, height: int, whole: int | None) -> None:
        self.first, self.last = list(range(height)), list(range(1, height + 1))
        if whole is not None:  # every row, for the only one it makes
            self.first, self.last = [0] * height, [whole] * height
        if axis is None or whole is not None:
            return
        source = axis.source
        inside = source != NONE
        far = int(source.max()) + 1
        first = np.where(inside, source, far).min(1)
        last = np.where(inside, source, NONE).max(1) + 1
        self.first = np.minimum.accumulate(first[::-1])[::-1].tolist()  # no later row reads above
        self.last = np.maximum.accumulate(last).tolist()


def schedule(program: RowProgram, block: int, lanes: int) -> Schedule:
    """The order that makes rows when they are wanted, `block` numbers of a plane at once or a row.

    Rows are wanted by the last operation first. A plane's rows are held until none of its readers
    will read them again.
    """
    makers = {operation.target: number for number, operation in enumerate(program.operations)}
    reads: list[list[tuple[int, _Reads]]] = []
    readers: dict[int, list[tuple[int, _Reads]]] = {}
    for number, operation in enumerate(program.operations):
        height = program.planes[operation.target].size[0]
        found = [(p, _Reads(axis, height, None)) for p, axis in sources(operation)]
        if isinstance(operation, Diagonal):
            rows = program.planes[operation.source].size[0]
            found = [(operation.source, _Reads(None, height, rows))]
        reads.append(found)
        for plane, rows_read in found:
            readers.setdefault(plane, []).append((number, rows_read))
    made = [0] * len(program.planes)
    held = [0] * len(program.planes)
    entries: list[Entry] = []
    last = program.operations[-1].target
    stack = [(last, program.planes[last].size[0])]
    while stack:
        plane, upto = stack[-1]
        if made[plane] >= upto:
            stack.pop()
            continue
        number = makers[plane]
        start = made[plane]
        stop = min(
            start + _rows_at_once(program, plane, block, lanes), program.planes[plane].size[0]
        )
        wanted = [(p, r.last[stop - 1]) for p, r in reads[number]]
        missing = [(p, last) for p, last in wanted if made[p] < last]
        if missing:
            stack.extend(missing)
            continue
        entries.append(Entry(number, start, stop))
        made[plane] = stop
        oldest = _oldest(program, readers.get(plane, []), made, start)
        held[plane] = max(held[plane], stop - min(oldest, start))
    return Schedule(tuple(entries), tuple(held))


def _rows_at_once(program: RowProgram, plane: int, block: int, lanes: int) -> int:
    it = program.planes[plane]
    return max(1, block // (it.groups * it.size[1] * pitch(it, lanes)))


def _oldest(
    program: RowProgram, readers: list[tuple[int, _Reads]], made: list[int], at: int
) -> int:
    """The first row of a plane that some reader has not read for the last time."""
    oldest = at
    for number, rows in readers:
        done = made[program.operations[number].target]
        if done < len(rows.first):
            oldest = min(oldest, rows.first[done])
    return oldest


def estimated_work(program: RowProgram) -> float:
    """Numbers of all planes of a pair, each counted with the words its masks have for it."""
    total = 0.0
    for operation in program.operations:
        target = program.planes[operation.target]
        positions = math.prod(target.size) ** 2
        total += positions * target.groups * 4
        if isinstance(operation, RowWindows | Mapping):
            total += positions * target.groups * operation.map.taps
    for target, part, mask in _masked_parts(program):
        words = mask.channels / 32 if mask.factor.hard else mask.channels
        total += math.prod(target.size) ** 2 * max(words, mask.groups) * part.pairs
    return total


def _masked_parts(program: RowProgram) -> Iterator[tuple[Plane, Summand, Mask]]:
    """Summands that have a mask, with the plane that they go to, and it."""
    for operation in program.operations:
        for part in operation.parts if isinstance(operation, Overlap) else ():
            if part.mask is not None:
                yield program.planes[operation.target], part, program.masks[part.mask]


def mask_numbers(program: RowProgram, lanes: int) -> int:
    """Numbers that the masks of one example take."""
    return sum(
        part.taps
        * mask.groups
        * words_of(mask.channels // mask.groups, mask.factor.hard)
        * pitch(target, lanes)
        for target, part, mask in _masked_parts(program)
    )


def factor_bytes(program: RowProgram) -> int:
    """Bytes of the largest factor of one example, as a tensor and as what is packed of it."""
    most = 0
    for target, part, mask in _masked_parts(program):
        each = TENSORS * (1 if mask.factor.hard else 4)
        most = max(most, each * part.taps * mask.channels * math.prod(target.size))
    return most


def words_of(channels: int, hard: bool) -> int:
    """Words of 32 bits that hold the gates of so many channels."""
    return -(-channels // 32) if hard else channels


def met_pairs(window: PositionMap | None, ties: np.ndarray | None) -> int:
    """How many pairs of windows meet: those of equal ties."""
    if ties is None:
        return 1 if window is None else window.taps**2
    return int((np.bincount(ties) ** 2).sum())
