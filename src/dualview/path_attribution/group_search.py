"""Groups of paths from the input to an output: those that stop at the same channels.

From the output back, a state is the channels so far and, for every entry of the step that it has
come to, the sum of the products on from there. A layer of weights or a gate splits it by channel;
between two stops, all routes are summed. Where a state reaches the input, its group's sum is exact:
no path is left out and none is counted twice. At every stop the states with the largest bounds go
on (beam search), and the largest bound of those that do not says how large any group not found can
be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dualview.path_attribution.group_bounds import (
    MIXED,
    GroupBounds,
    channels_of,
    group_bounds,
    is_stop,
    row_labels,
)
from dualview.path_attribution.steps import Input, Part, Program, Weighted, gathered_by

Stops = tuple[tuple[int, int], ...]
"""(step, channel) of each stop of a group, from the input on."""


@dataclass(frozen=True, eq=False)
class FoundGroup:
    """A group: its stops, its sum, and what of it begins at each position of its input channel."""

    stops: Stops
    contribution: float
    starts: np.ndarray


@dataclass(frozen=True, eq=False)
class _State:
    """Sums of products from entries of a step to the output, by the channels of `stops`."""

    stops: Stops
    entries: np.ndarray
    factors: np.ndarray


class GroupSearch:
    """Search over one program, for any output and number of groups."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._bounds: GroupBounds = group_bounds(program)

    def find(
        self, entries: Sequence[int], signs: Sequence[float], k: int, width: int
    ) -> tuple[list[FoundGroup], float]:
        """The strongest groups to the sum of some entries of the output times their signs.

        Args:
            entries: of the output.
            signs: of each.
            k: how many groups.
            width: states that go on at every stop.

        Returns:
            At most k, largest |sum| first; and a number that no other group exceeds.
        """
        beam = _Beam(self.program, self._bounds, width)
        found = beam.run(np.array(entries), np.array(signs, float))
        found.sort(key=lambda group: -abs(group.contribution))
        found = [group for group in found if group.contribution]
        others = [abs(group.contribution) for group in found[k : k + 1]]
        return found[:k], max([beam.dropped, *others])


class _Beam:
    """One walk from the output back to the input."""

    def __init__(self, program: Program, bounds: GroupBounds, width: int) -> None:
        self.program, self.bounds, self.width = program, bounds, width
        self.dropped = 0.0
        self._waiting: defaultdict[int, dict[tuple[Stops, int], list[_State]]] = defaultdict(dict)

    def run(self, entries: np.ndarray, signs: np.ndarray) -> list[FoundGroup]:
        """All groups that the states of the beam end in."""
        output, found = self.program.output, list[FoundGroup]()
        self._put(output, _State((), entries, signs), MIXED)
        for number in range(output, -1, -1):
            states = [_merged(parts) for parts in self._waiting.pop(number, {}).values()]
            step = self.program.steps[number]
            if is_stop(step) and number != output:
                states = self._widest(number, states)
                states = [self._stopped(number, state) for state in states]
            if isinstance(step, Input):
                found += [_ended(step, state) for state in states]
            elif isinstance(step, Weighted):
                self._back_through_weights(number, step, states)
            else:
                for state in states:
                    for part in step.parts:
                        self._back_through_part(part, state)
        return found

    def _put(self, step: int, state: _State, label: int) -> None:
        self._waiting[step].setdefault((state.stops, label), []).append(state)

    def _widest(self, step: int, states: list[_State]) -> list[_State]:
        """The states with the largest bounds."""
        if len(states) <= self.width:
            return states
        sizes = np.array([self.bounds.size(step, s.entries, s.factors) for s in states])
        return [states[i] for i in self._largest(sizes)]

    def _largest(self, sizes: np.ndarray) -> np.ndarray:
        """Places of the largest sizes; the others are dropped."""
        order = np.argsort(-sizes, kind="stable")
        if len(order) > self.width:
            self.dropped = max(self.dropped, float(sizes[order[self.width]]))
        kept = order[: self.width]
        return kept[sizes[kept] > 0]

    def _stopped(self, number: int, state: _State) -> _State:
        """The state with the stop that it has come to."""
        channel = int(channels_of(self.program.steps[number])[state.entries[0]])
        return _State(((number, channel), *state.stops), state.entries, state.factors)

    def _back_through_part(self, part: Part, state: _State) -> None:
        """Follow a group's entries to what one part of a sum reads."""
        entries, factors = state.entries, state.factors
        if part.factor is not None:
            factors = factors * part.factor[entries]
        if part.gather is not None:
            size = len(self.bounds.labels[part.source])
            place, read, given = gathered_by(part.gather, entries, size)
            entries, factors = _collected(read, factors[place] * given)
        self._split(part.source, _State(state.stops, entries, factors))

    def _split(self, source: int, state: _State) -> None:
        """Hand a state on to a step, one for each label of the entries that it has come to."""
        alive = state.factors != 0
        labels = self.bounds.labels[source][state.entries]
        for label in np.unique(labels[alive]):
            own = alive & (labels == label)
            self._put(
                source, _State(state.stops, state.entries[own], state.factors[own]), int(label)
            )

    def _back_through_weights(self, number: int, step: Weighted, states: list[_State]) -> None:
        """To the source's labels, of all states together those with the largest bounds."""
        labels = row_labels(step, self.bounds.labels[step.source])
        views = [view for state in states for view in _views(step, state)]
        pairs = [
            (view, label, size)
            for group in range(step.groups)
            if (own := [view for view in views if view.group == group])
            for view, sizes in zip(own, self._sizes(step, own, group), strict=True)
            for label, size in _by_label(labels[group], sizes)
        ]
        sizes = np.array([size for _, _, size in pairs])
        for i in np.flatnonzero(sizes) if number == self.program.output else self._largest(sizes):
            view, label, _ = pairs[i]
            rows = np.flatnonzero(labels[view.group] == label)
            self._put(step.source, _read(step, view, rows, self._count(step)), int(label))

    def _count(self, step: Weighted) -> int:
        """Positions of a layer's source."""
        return len(self.bounds.labels[step.source]) // (step.groups * step.inputs)

    def _sizes(self, step: Weighted, views: list[_View], group: int) -> np.ndarray:
        """Of every view and channel that the layer reads, how much the groups from there can add.

        Of an input channel that is the sum itself, with its sign.
        """
        value = self.bounds.values[step.source]
        weight, factors = (
            np.stack([getattr(view, name) for view in views]) for name in ("weight", "factors")
        )
        source = self.bounds.bounds[step.source] if value is None else value
        if value is None:
            weight, factors = np.abs(weight), np.abs(factors)
        table = source.reshape(step.groups, step.inputs, -1)[group]
        sums = np.zeros((len(views), step.inputs))
        for offset, read in enumerate(step.index):
            valid = read >= 0
            sums += weight[..., offset] * (factors[:, valid] @ table[:, read[valid]].T)
        return sums


def _by_label(labels: np.ndarray, sums: np.ndarray) -> Iterator[tuple[int, float]]:
    """Every label of a layer's channels, with the size of their sum."""
    names, totals = _collected(labels, sums)
    return zip(names.tolist(), np.abs(totals).tolist(), strict=True)


@dataclass(frozen=True, eq=False)
class _View:
    """A state at a layer of weights, as the layer sees it.

    Attributes:
        stops: of the state.
        group: of the layer's channels.
        weight: (c, offsets), of the channels that the state has come to.
        factors: (positions,).
    """

    stops: Stops
    group: int
    weight: np.ndarray
    factors: np.ndarray


def _views(step: Weighted, state: _State) -> Iterator[_View]:
    """One view of each group of channels; of several channels at one position, their sum."""
    outputs, positions = step.weight.shape[1], step.index.shape[1]
    channel, position = np.divmod(state.entries, positions)
    table = step.weight.reshape(step.groups * outputs, step.inputs, -1)
    for group in np.unique(channel // outputs):
        own = channel // outputs == group
        if positions == 1:
            weight = np.tensordot(state.factors[own], table[channel[own]], axes=1)
            yield _View(state.stops, int(group), weight, np.ones(1))
            continue
        for one in np.unique(channel[own]):
            here = channel == one
            factors = np.bincount(position[here], state.factors[here], minlength=positions)
            yield _View(state.stops, int(group), table[one], factors)


def _read(step: Weighted, view: _View, rows: np.ndarray, count: int) -> _State:
    """The state at the layer's source, at some of the channels (rows) that the layer reads."""
    factors = np.zeros((len(rows), count))
    for offset, read in enumerate(step.index):
        valid = read >= 0
        placed = np.bincount(read[valid], view.factors[valid], minlength=count)
        factors += view.weight[rows, offset, None] * placed
    entries = (view.group * step.inputs + rows)[:, None] * count + np.arange(count)
    return _State(view.stops, entries.reshape(-1), factors.reshape(-1))


def _collected(entries: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every entry once, with the sum of its factors."""
    names, place = np.unique(entries, return_inverse=True)
    return names, np.bincount(place, factors, minlength=len(names))


def _merged(states: list[_State]) -> _State:
    """States of the same stops, that came by several routes."""
    if len(states) == 1:
        return states[0]
    entries, factors = (
        np.concatenate([getattr(s, name) for s in states]) for name in ("entries", "factors")
    )
    return _State(states[0].stops, *_collected(entries, factors))


def _ended(step: Input, state: _State) -> FoundGroup:
    """The group of a state at the input."""
    shape = step.label.shape
    size = step.label.size // (shape[0] if shape else 1)
    added = state.factors * step.values[state.entries]
    starts = np.bincount(state.entries % size, added, minlength=size)
    return FoundGroup(state.stops, float(added.sum()), starts.reshape(shape[1:]))
