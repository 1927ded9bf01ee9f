"""The k best paths to an entry, exactly, by best-first search backwards.

`best_prefixes` says for every entry how large a path that ends there can get. With it the best way
to complete any suffix is known, not guessed: the search (A* with an exact heuristic) takes, from
the output back, the best edge at each entry, and puts the second best of each aside with the
magnitude of the best path that goes that way. The largest of what was put aside is the next path.
So k paths cost k walks from the output to the input, however many paths there are.

Source: Eppstein, "Finding the k shortest paths", SIAM J. Computing 28, 1998 (deviations from the
best completion); the tables are those of Viterbi's recursion.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dualview.path_attribution.evaluation import best_prefixes, log_magnitude
from dualview.path_attribution.steps import Gather, Input, Part, Program, Sum, Weighted

CONSTANT = -1
"""In place of a source's number: the path begins here, at a constant."""


class Edge(NamedTuple):
    """One term of an entry: `factor` times entry `entry` of step `source`."""

    step: int
    at: int
    source: int
    entry: int
    factor: float
    learnt: bool


class Trail(NamedTuple):
    """Edges from an entry on to the output, the first one here."""

    edge: Edge
    rest: Trail | None


@dataclass(frozen=True, eq=False)
class _Edges:
    """Edges of one entry, the one with the best completion first, as parallel arrays."""

    scores: np.ndarray
    sources: np.ndarray
    entries: np.ndarray
    factors: np.ndarray
    learnt: np.ndarray

    def best(self, k: int) -> _Edges:
        """The k best, without those whose paths are all 0."""
        kept = np.flatnonzero(self.scores > -np.inf)
        if len(kept) > k:
            kept = kept[np.argpartition(-self.scores[kept], k - 1)[:k]]
        kept = kept[np.lexsort((kept, -self.scores[kept]))]
        return _Edges(*(getattr(self, name)[kept] for name in self.__dataclass_fields__))

    def edge(self, rank: int, step: int, at: int) -> Edge:
        """One of them, of the entry `at` of a step."""
        columns = (self.sources, self.entries, self.factors, self.learnt)
        return Edge(step, at, *(column.item(rank) for column in columns))


class BestPaths:
    """Search over the program of one example, for any output and number of paths."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.prefixes = best_prefixes(program)

    def find(self, entry: int, k: int) -> Iterator[list[Edge]]:
        """Paths to an entry of the output as edges from their source on, largest magnitude first.

        At most k, and none that is 0. Two paths whose magnitudes differ by less than rounding may
        come in either order.
        """
        known: dict[tuple[int, int], _Edges] = {}
        serial = itertools.count()
        waiting: list[tuple[float, int, Trail | None, float, int, int, int]] = []

        def edges(step: int, at: int) -> _Edges:
            if (step, at) not in known:
                known[step, at] = self._edges(step, at).best(k)
            return known[step, at]

        def put_aside(rest: Trail | None, suffix: float, step: int, at: int, rank: int) -> None:
            scores = edges(step, at).scores
            if rank < len(scores):
                priority = -(suffix + float(scores[rank]))
                heapq.heappush(waiting, (priority, next(serial), rest, suffix, step, at, rank))

        put_aside(None, 0.0, self.program.output, entry, 0)
        for _ in range(k):
            if not waiting:
                return
            _, _, trail, suffix, step, at, rank = heapq.heappop(waiting)
            while not isinstance(self.program.steps[step], Input):
                put_aside(trail, suffix, step, at, rank + 1)
                edge = edges(step, at).edge(rank, step, at)
                trail = Trail(edge, trail)
                if edge.source == CONSTANT:
                    break
                suffix += math.log(abs(edge.factor))
                step, at, rank = edge.source, edge.entry, 0
            yield list(_walk(trail))

    def _edges(self, number: int, at: int) -> _Edges:
        step = self.program.steps[number]
        assert not isinstance(step, Input)
        groups = self._weighted(step, at) if isinstance(step, Weighted) else self._sum(step, at)
        columns = [np.concatenate(column) for column in zip(*groups, strict=True)]
        sources, entries, factors, learnt = columns
        scores = log_magnitude(factors)
        for source in np.unique(sources[sources != CONSTANT]):
            here = sources == source
            scores[here] += self.prefixes[source][entries[here]]
        return _Edges(scores, sources, entries, factors, learnt)

    def _weighted(self, step: Weighted, at: int) -> list[tuple[np.ndarray, ...]]:
        outputs, positions = step.weight.shape[1], step.index.shape[1]
        channel, position = divmod(at, positions)
        group, output = divmod(channel, outputs)
        read = step.index[:, position]
        valid = np.flatnonzero(read >= 0)
        count = len(self.prefixes[step.source]) // (step.groups * step.inputs)
        channels = group * step.inputs + np.arange(step.inputs)
        entries = (channels[:, None] * count + read[valid]).reshape(-1)
        weight = step.weight[group, output].reshape(step.inputs, -1)[:, valid].reshape(-1)
        groups = [_columns(step.source, entries, weight, step.learnt)]
        if step.bias is not None:
            groups.append(_constant(step.bias[channel], step.learnt))
        return groups

    def _sum(self, step: Sum, at: int) -> list[tuple[np.ndarray, ...]]:
        groups = [self._part(part, at) for part in step.parts]
        if step.constant is not None and step.constant[at] != 0:
            groups.append(_constant(step.constant[at], step.learnt))
        return groups or [_columns(CONSTANT, np.zeros(0, int), np.zeros(0), False)]

    def _part(self, part: Part, at: int) -> tuple[np.ndarray, ...]:
        if part.gather is None:
            entries, factors = np.array([at]), np.ones(1)
        else:
            entries, factors = _gathered(part.gather, at, len(self.prefixes[part.source]))
        if part.factor is not None:
            factors = factors * part.factor[at]
        return _columns(part.source, entries, factors, part.learnt)


def _gathered(gather: Gather, at: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    block, row = divmod(at, len(gather.index))
    read = gather.index[row]
    valid = read >= 0
    ones = np.ones(int(valid.sum()))
    factors = ones if gather.coefficients is None else gather.coefficients[row][valid]
    return block * (size // gather.blocks) + read[valid], factors


def _columns(
    source: int, entries: np.ndarray, factors: np.ndarray, learnt: bool
) -> tuple[np.ndarray, ...]:
    count = len(entries)
    return np.full(count, source), entries, factors, np.full(count, learnt)


def _constant(value: float, learnt: bool) -> tuple[np.ndarray, ...]:
    return _columns(CONSTANT, np.zeros(1, int), np.array([value]), learnt)


def _walk(trail: Trail | None) -> Iterator[Edge]:
    while trail is not None:
        yield trail.edge
        trail = trail.rest
