"""How much a group of paths can add: for every entry, a bound on all groups that end there.

A group is all paths from the input that stop at the same channels; `group_search` looks for the
strongest. Paths of a group cancel over positions, so that no recursion gives the largest group. A
bound takes the largest channel of a layer's sources, of each the sum of sizes over positions. It is
exact where a group has one path to an entry, as in dense layers behind the first.

Entries of a step have *labels*, such that all that comes from one channel of an earlier stop has
one label. Where channels mix, a step has a single label, and the bound is a plain sum of sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualview.path_attribution.evaluation import picked
from dualview.path_attribution.steps import Input, Part, Program, Step, Sum, Weighted, sources

MIXED = 0
"""The label of a step's entries where channels mix."""


def is_stop(step: Step) -> bool:
    """Whether paths stop here: the input, weights and gates; not at moves, pools and norms."""
    return not isinstance(step, Sum) or step.label.kind == "gate"


def channels_of(step: Step) -> np.ndarray:
    """The channel of every entry of a stop."""
    shape = step.label.shape
    channels = shape[0] if shape else 1
    return np.repeat(np.arange(channels), step.label.size // channels)


@dataclass(frozen=True, eq=False)
class GroupBounds:
    """Of every step, flat arrays over its entries.

    Attributes:
        labels: of every entry; see above. -1 where no path from the input comes.
        bounds: the largest |sum over a group's paths| there, or more.
        values: the sums themselves, with their signs, where all groups are one input channel's;
            None behind the first weights or gates. Bounds are then their sizes.
    """

    labels: list[np.ndarray]
    bounds: list[np.ndarray]
    values: list[np.ndarray | None]

    def size(self, step: int, entries: np.ndarray, factors: np.ndarray) -> float:
        """A bound on the groups that go on from these entries of a step times these factors."""
        value = self.values[step]
        if value is not None:
            return abs(float(factors @ value[entries]))
        return float(np.abs(factors) @ self.bounds[step][entries])


def group_bounds(program: Program) -> GroupBounds:
    """Labels and bounds of every step; paths that begin at constants are left out."""
    found = GroupBounds([], [], [])
    stops: list[frozenset[int]] = []
    for number, step in enumerate(program.steps):
        regions = [stops[source] for source in sources(step)]
        before = frozenset[int]().union(*regions)
        if isinstance(step, Input):
            labels, value = channels_of(step), step.values
            bound = np.abs(value)
        elif isinstance(step, Weighted):
            labels, bound, value = channels_of(step), _weighted(step, found), None
        else:
            own = [_part(part, found) for part in step.parts]
            meet = sum(map(len, regions)) > len(before)
            labels, bound, value = _summed(step, own, meet)
        found.labels.append(labels)
        found.bounds.append(bound)
        found.values.append(value)
        stops.append(frozenset([number]) if is_stop(step) else before)
    return found


@dataclass(frozen=True, eq=False)
class _Read:
    """What a sum reads of one source: labels (-1: nothing; None: mixed), bounds, values."""

    labels: np.ndarray | None
    bound: np.ndarray
    value: np.ndarray | None


def _part(part: Part, found: GroupBounds) -> _Read:
    labels, bound = found.labels[part.source], found.bounds[part.source]
    value = found.values[part.source]
    read: np.ndarray | None = labels
    if part.gather is not None:
        named = np.where(labels < 0, np.nan, labels)
        read = _common(picked(part.gather, named, np.nan).reshape(-1, part.gather.index.shape[1]))
        factor = 1.0 if part.gather.coefficients is None else part.gather.coefficients
        bound = (picked(part.gather, bound, 0.0) * np.abs(factor)).sum(-1).reshape(-1)
        if value is not None:
            value = (picked(part.gather, value, 0.0) * factor).sum(-1).reshape(-1)
    if part.factor is not None:
        bound = bound * np.abs(part.factor)
        value = None if value is None else value * part.factor
    return _Read(read, bound, value)


def _common(labels: np.ndarray) -> np.ndarray | None:
    """The one label of every row, NaN left out; -1 of none; None where a row has several."""
    low = np.where(np.isnan(labels), np.inf, labels).min(1)
    high = np.where(np.isnan(labels), -np.inf, labels).max(1)
    if (low < high).any():
        return None
    return np.where(np.isfinite(low), low, -1).astype(int)


def _summed(
    step: Sum, parts: list[_Read], meet: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Labels, bounds and values of a sum; `meet`: one stop may come by several of its parts."""
    if not parts:  # where paths begin at a constant
        return np.full(step.label.size, -1), np.zeros(step.label.size), None
    bounds = np.stack([part.bound for part in parts])
    bound = bounds.sum(0) if meet else bounds.max(0)
    value = parts[0].value if len(parts) == 1 and step.label.kind != "gate" else None
    if value is not None:
        bound = np.abs(value)
    if step.label.kind == "gate":
        return channels_of(step), bound, None
    labels = _joined([part.labels for part in parts])
    return np.full(step.label.size, MIXED) if labels is None else labels, bound, value


def _joined(labels: list[np.ndarray | None]) -> np.ndarray | None:
    """One label for every entry; None where some part is mixed, or two disagree."""
    known = [own for own in labels if own is not None]
    if len(known) < len(labels):
        return None
    highest = np.stack(known).max(0)
    if any(((own >= 0) & (own != highest)).any() for own in known):
        return None
    return np.maximum(highest, 0)


def row_labels(step: Weighted, labels: np.ndarray) -> np.ndarray:
    """The label of each input channel of a layer (groups, c): one for all where they mix."""
    table = labels.reshape(step.groups, step.inputs, -1)
    if (table != table[..., :1]).any():
        return np.full(table.shape[:2], MIXED)
    return table[..., 0]


def _weighted(step: Weighted, found: GroupBounds) -> np.ndarray:
    """The largest of the labels' sums at every entry of a layer."""
    value = found.values[step.source]
    source = found.bounds[step.source] if value is None else value
    source = source.reshape(step.groups, step.inputs, -1)
    rows = row_labels(step, found.labels[step.source])
    outputs, positions = step.weight.shape[1], step.index.shape[1]
    bound = np.zeros((step.groups, outputs, positions))
    weight = step.weight.reshape(step.groups, outputs, step.inputs, -1)
    for group in range(step.groups):
        own = np.abs(weight[group]) if value is None else weight[group]
        _raise(bound[group], own, source[group], step.index, rows[group])
    return bound.reshape(-1)


def _raise(
    bound: np.ndarray, weight: np.ndarray, source: np.ndarray, index: np.ndarray, rows: np.ndarray
) -> None:
    """Raise bounds (outputs, positions) to every label's |sum over its rows and offsets|."""
    labels = np.unique(rows)
    if index.size == 1 and len(labels) == len(rows):  # a dense layer, each unit by itself
        np.maximum(bound, np.abs(weight[..., 0] * source[:, 0]).max(1)[:, None], out=bound)
        return
    padded = np.concatenate([source, np.zeros((len(source), 1))], axis=1)
    for label in labels:
        own = rows == label
        columns = padded[own][:, index].reshape(-1, index.shape[1])  # (rows * offsets, positions)
        sums = weight[:, own].reshape(len(weight), -1) @ columns
        np.maximum(bound, np.abs(sums), out=bound)
