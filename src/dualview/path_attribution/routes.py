"""One edge for all routes between two stops of a path: every path is listed once.

A path is what it stops at: the input or a bias where it begins, and the units and gates that it
passes. Between two stops there may be several routes, all of them fixed maps: through two cells of
a pool whose windows the next pool reads together, or around and through a pool. They are one path,
with the sum of their coefficients. Steps in which routes may meet are written as one map from the
stops before them; all others stay as they are.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from dualview.path_attribution.steps import (
    Gather,
    Input,
    Part,
    Program,
    Step,
    Sum,
    Weighted,
    gather_of,
    gathered_by,
)


@dataclass(frozen=True, eq=False)
class _Map:
    """A sparse matrix: `written[i]` of a step adds `factor[i]` times `read[i]` of a stop."""

    written: np.ndarray
    read: np.ndarray
    factor: np.ndarray

    def gather(self, size: int) -> Gather:
        """As a sum of `size` entries reads the stop."""
        return gather_of(self.read, self.written, self.factor, size)


@dataclass(frozen=True)
class _Region:
    """What lies between a step that is no stop and the stops before it.

    Attributes:
        stops: numbers of those that it reads.
        spread: whether an entry of one may have been copied to several of its own.
    """

    stops: frozenset[int]
    spread: bool


def one_route_each(program: Program) -> Program:
    """The same paths, each of them once."""
    joiner = _Joiner()
    number: dict[int, int] = {}
    for old, step in enumerate(program.steps):
        number[old] = joiner.take(step, number)
    return replace(program, steps=tuple(joiner.steps), output=number[program.output])


class _Joiner:
    """Takes one step after the other; `steps` are those so far."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.regions: dict[int, _Region] = {}
        self.maps: dict[int, dict[int, _Map]] = {}

    def take(self, step: Step, number: dict[int, int]) -> int:
        """Append a step whose sources are numbered anew; its number."""
        if isinstance(step, Input):
            return self._append(step)
        if isinstance(step, Weighted):
            return self._append(replace(step, source=number[step.source]))
        parts = tuple(replace(part, source=number[part.source]) for part in step.parts)
        step = replace(step, parts=parts)
        if step.label.kind == "gate" or any(part.learnt for part in parts):
            return self._append(step)
        if step.constant is not None:  # where paths begin is a stop
            begin = self._append(Sum(step.label, (), step.constant, step.learnt))
            step = Sum(step.label, (*parts, Part(begin)))
        return self._take_map(step)

    def _append(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def _take_map(self, step: Sum) -> int:
        """Append a sum; as one map of all it reads where two parts can hold the same paths."""
        sources = [
            self.regions.get(p.source, _Region(frozenset([p.source]), False)) for p in step.parts
        ]
        reads = [_reads(part, self._size(part.source)) for part in step.parts]
        pairs = itertools.combinations(sources, 2)
        meet = any(one.stops & other.stops for one, other in pairs)
        meet |= any(s.spread and several for s, (several, _) in zip(sources, reads, strict=True))
        spread = meet or any(
            s.spread or copies for s, (_, copies) in zip(sources, reads, strict=True)
        )
        if meet:
            maps = sorted(self._map_of(step).items())
            step = Sum(step.label, tuple(Part(stop, m.gather(step.label.size)) for stop, m in maps))
        number = self._append(step)
        stops = frozenset().union(*(source.stops for source in sources))
        self.regions[number] = _Region(stops, spread)
        return number

    def _size(self, number: int) -> int:
        return self.steps[number].label.size

    def _map_of(self, step: Sum) -> dict[int, _Map]:
        """Every stop's map to the step."""
        found: dict[int, list[_Map]] = {}
        for part in step.parts:
            own = _map_of_part(part, step.label.size, self._size(part.source))
            if part.source not in self.regions:
                found.setdefault(part.source, []).append(own)
                continue
            if part.source not in self.maps:
                source = self.steps[part.source]
                assert isinstance(source, Sum)
                self.maps[part.source] = self._map_of(source)
            for stop, before in self.maps[part.source].items():
                found.setdefault(stop, []).append(_after(own, before, self._size(part.source)))
        return {stop: _summed(maps, self._size(stop)) for stop, maps in found.items()}


def _reads(part: Part, size: int) -> tuple[bool, bool]:
    """Whether an entry reads several of the source's, and whether several read one."""
    if part.gather is None:
        return False, False
    valid = part.gather.index >= 0
    counts = np.bincount(part.gather.index[valid], minlength=size // part.gather.blocks)
    return bool((valid.sum(-1) > 1).any()), bool((counts > 1).any())


def _map_of_part(part: Part, size: int, source_size: int) -> _Map:
    if part.gather is None:
        written = read = np.arange(size)
        factor = np.ones(size)
    else:
        written, read, factor = gathered_by(part.gather, np.arange(size), source_size)
    return _Map(written, read, factor if part.factor is None else factor * part.factor[written])


def _after(outer: _Map, inner: _Map, size: int) -> _Map:
    """The product: `outer` reads what `inner` writes, `size` entries."""
    order = np.argsort(inner.written, kind="stable")
    starts = np.searchsorted(inner.written[order], np.arange(size + 1))
    counts = (starts[1:] - starts[:-1])[outer.read]
    first = np.repeat(starts[outer.read], counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = order[first + place]
    factor = np.repeat(outer.factor, counts) * inner.factor[chosen]
    return _Map(np.repeat(outer.written, counts), inner.read[chosen], factor)


def _summed(maps: list[_Map], size: int) -> _Map:
    """The sum of maps from one stop of `size` entries, every pair of entries once."""
    written, read, factor = (
        np.concatenate([getattr(m, name) for m in maps]) for name in ("written", "read", "factor")
    )
    pairs, place = np.unique(written * size + read, return_inverse=True)
    return _Map(pairs // size, pairs % size, np.bincount(place, factor, minlength=len(pairs)))
