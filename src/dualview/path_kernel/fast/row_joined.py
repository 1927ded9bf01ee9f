"""Sums that see one plane through the same windows are made at once, as groups of one plane.

Behind a pooled stem every identity skip sees the stem's plane, the largest of all, through the
pool's windows. Read once for all, it passes through memory once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dualview.path_kernel.fast.factors import Joined
from dualview.path_kernel.fast.position_maps import PositionMap
from dualview.path_kernel.fast.row_program import (
    Layer,
    Mask,
    Operation,
    Overlap,
    Plane,
    RowProgram,
    Summand,
)


@dataclass(frozen=True, eq=False)
class _Sight:
    """Summands of several operations that see one source alike; those of them: (number, part)."""

    places: tuple[tuple[int, int], ...]
    parts: tuple[Summand, ...]
    size: tuple[int, int]


def joined(program: RowProgram) -> RowProgram:
    """The program with such sums joined, each plane made where it is read first."""
    planes, masks, operations = list(program.planes), list(program.masks), list[Operation]()
    changed: dict[tuple[int, int], Summand] = {}
    before: dict[int, list[Overlap]] = {}
    for sight in _sights(program):
        plane, mask = len(planes), len(masks)
        count = len(sight.parts)
        planes.append(Plane(sight.size, count))
        own = [program.masks[part.mask] for part in sight.parts if part.mask is not None]
        factor = Joined(tuple(m.factor for m in own))
        masks.append(Mask(factor, count * own[0].channels, count))
        scale = 1 / own[0].channels
        groups = tuple((0, group) for group in range(count))
        whole = replace(sight.parts[0], mask=mask, scale=scale, groups=groups, slope=0.0)
        before.setdefault(sight.places[0][0], []).append(Overlap(plane, (whole,), Layer()))
        for group, (place, part) in enumerate(zip(sight.places, sight.parts, strict=True)):
            seen = Summand(plane, None, part.scale / scale, ((group, 0),), slope=part.slope)
            changed[place] = seen
    for number, operation in enumerate(program.operations):
        operations += before.get(number, [])
        if isinstance(operation, Overlap):
            numbered = enumerate(operation.parts)
            parts = tuple(changed.get((number, at), part) for at, part in numbered)
            operation = replace(operation, parts=parts)
        operations.append(operation)
    return _renumbered(RowProgram(program.copies, planes, masks, operations))


def _renumbered(program: RowProgram) -> RowProgram:
    """The program without masks that nothing reads."""
    overlaps = [o for o in program.operations if isinstance(o, Overlap)]
    used = sorted({p.mask for o in overlaps for p in o.parts if p.mask is not None})
    number: dict[int | None, int] = {old: new for new, old in enumerate(used)}
    operations: list[Operation] = []
    for operation in program.operations:
        if isinstance(operation, Overlap):
            parts = (replace(part, mask=number.get(part.mask)) for part in operation.parts)
            operation = replace(operation, parts=tuple(parts))
        operations.append(operation)
    masks = [program.masks[old] for old in used]
    return RowProgram(program.copies, program.planes, masks, operations)


def _sights(program: RowProgram) -> list[_Sight]:
    """Parts of sums that see planes through the same windows, at least two together."""
    found: list[list[tuple[tuple[int, int], Summand]]] = []
    for number, operation in enumerate(program.operations):
        for at, part in enumerate(operation.parts if isinstance(operation, Overlap) else ()):
            if part.window is None or part.window.taps == 1 or len(part.groups) > 1:
                continue
            if part.source is None:
                continue
            for group in found:
                if _alike(program, group[0][1], part):
                    group.append(((number, at), part))
                    break
            else:
                found.append([((number, at), part)])
    return [
        _Sight(
            tuple(place for place, _ in group),
            tuple(part for _, part in group),
            program.planes[program.operations[group[0][0][0]].target].size,
        )
        for group in found
        if len(group) > 1
    ]


def _alike(program: RowProgram, one: Summand, other: Summand) -> bool:
    """Whether two summands differ in their masks' values and in their scale at most."""
    if one.source != other.source or one.groups != other.groups:
        return False
    assert one.window is not None
    assert other.window is not None
    assert one.mask is not None
    assert other.mask is not None
    masks = program.masks[one.mask], program.masks[other.mask]
    same = masks[0].channels == masks[1].channels
    same &= masks[0].factor.hard == masks[1].factor.hard
    same &= _same(one.order, other.order) and _same(one.ties, other.ties)
    return same and _same_windows(one.window, other.window)


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


def _same_windows(one: PositionMap, other: PositionMap) -> bool:
    return one is other or all(
        np.array_equal(a, b)
        for a, b in zip(
            (*vars(one.rows).values(), *vars(one.columns).values()),
            (*vars(other.rows).values(), *vars(other.columns).values()),
            strict=True,
        )
    )
