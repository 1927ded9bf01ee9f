"""Growing a tree of hyperplanes that decides as a network does.

Splits are chosen among given hyperplanes, greedily: that one whose two sides differ most, as in
CART, in what the network says of the training rows, or in the linear functions by which it says it:
where classes alternate like the fields of a chessboard, no first split tells them apart, but the
network's function is another one on either side. Axes: rows on axis 0; NumPy, float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

FINALISTS = 16
"""Of so many best hyperplanes shifted ones are tried, too."""

NOISE = 1e-12
"""Of what rows differ by, a smaller share is rounding."""


@dataclass(frozen=True, eq=False)
class Leaf:
    """What is said of the rows that end here.

    Attributes:
        value: (outputs,): shares of the classes that the network chose, or its mean prediction.
        rows: how many training rows ended here.
        slopes: (outputs, columns) of a linear function, or None.
        offset: (outputs,) of it, or None.
    """

    value: np.ndarray
    rows: int
    slopes: np.ndarray | None = None
    offset: np.ndarray | None = None

    def says(self, x: np.ndarray) -> np.ndarray:
        """Of rows (n, columns): (n, outputs)."""
        if self.slopes is None or self.offset is None:
            return np.broadcast_to(self.value, (len(x), len(self.value)))
        return x @ self.slopes.T + self.offset

    def shares(self, x: np.ndarray) -> np.ndarray:
        """Probabilities of classes, of rows (n, columns): of linear scores the softmax."""
        found = self.says(x)
        if self.slopes is not None:
            found = np.exp(found - found.max(1, keepdims=True))
            found /= found.sum(1, keepdims=True)
        return found


@dataclass(frozen=True, eq=False)
class Split:
    """A hyperplane, and what lies on either side.

    Attributes:
        normal: (columns,) in units of the data.
        threshold: rows go above where normal · x > threshold.
        gate: number of the gate that it was read off.
        shift: how far it was moved from the gate's own, in standard deviations.
        rows: how many training rows came here.
        value: (outputs,) as of a leaf, over all of them.
        below: where normal · x <= threshold.
        above: where it is larger.
    """

    normal: np.ndarray
    threshold: float
    gate: int
    shift: float
    rows: int
    value: np.ndarray
    below: Node
    above: Node


Node = Leaf | Split


@dataclass(frozen=True)
class Growth:
    """How large a tree may grow.

    Attributes:
        max_depth: splits on a way from the root to a leaf.
        min_samples_leaf: training rows that each leaf has.
        shift: whether hyperplanes may be moved along their normals.
        constant: whether leaves say one thing, so that rows of which one thing is said need no
            split.
    """

    max_depth: int
    min_samples_leaf: int
    shift: bool
    constant: bool


@dataclass(frozen=True, eq=False)
class Candidates:
    """Hyperplanes, and where the rows lie.

    Attributes:
        normals: (planes, columns).
        offsets: (planes,).
        values: (rows, planes): normal · x + offset.
        lengths: (planes,): of a normal in standard deviations.
    """

    normals: np.ndarray
    offsets: np.ndarray
    values: np.ndarray
    lengths: np.ndarray


def grow(
    candidates: Candidates,
    told: np.ndarray,
    guide: np.ndarray,
    growth: Growth,
    leaf: Callable[[np.ndarray], Leaf],
) -> Node:
    """The tree.

    Args:
        candidates: hyperplanes to split by, and the rows' places.
        told: (rows, outputs) what the network says of each: its class one-hot, or its predictions
            in standard deviations. The last split before constant leaves is chosen by it.
        guide: (rows, numbers) what other splits are chosen by.
        growth: how large.
        leaf: numbers of rows -> the leaf that they make.
    """

    def chosen(rows: np.ndarray, depth: int) -> tuple[int, float] | None:
        if depth == growth.max_depth or (growth.constant and not _differ(told[rows])):
            return None
        last = growth.constant and depth == growth.max_depth - 1
        return best_split(candidates, told if last else guide, rows, growth)

    def grown(rows: np.ndarray, depth: int) -> Node:
        found = chosen(rows, depth)
        if found is None:
            return leaf(rows)
        plane, cut = found
        over = candidates.values[rows, plane] > cut
        below, above = grown(rows[~over], depth + 1), grown(rows[over], depth + 1)
        return split_at(candidates, plane, cut, leaf(rows), below, above)

    return grown(np.arange(len(told)), 0)


def split_at(
    candidates: Candidates, plane: int, cut: float, whole: Leaf, below: Node, above: Node
) -> Split:
    """A split of the rows that would else make the leaf `whole`, where a plane's value is `cut`."""
    return Split(
        normal=candidates.normals[plane],
        threshold=float(cut - candidates.offsets[plane]),
        gate=plane,
        shift=float(cut / candidates.lengths[plane]),
        rows=whole.rows,
        value=whole.value,
        below=below,
        above=above,
    )


def simplified(node: Node) -> Node:
    """A tree of classes, without what changes nothing that is decided of its rows.

    A linear leaf of whose rows one class is told says that class; a split whose two leaves say one
    class is a leaf.
    """
    if isinstance(node, Leaf):
        return Leaf(node.value, node.rows) if node.value.max() == 1 else node
    found = replace(node, below=simplified(node.below), above=simplified(node.above))
    return Leaf(node.value, node.rows) if _decide_alike(found.below, found.above) else found


def _differ(told: np.ndarray) -> bool:
    """Whether rows differ by more than rounding."""
    squares = float((told**2).sum())
    spread = squares - float((told.sum(0) ** 2).sum()) / len(told)
    return spread > NOISE * max(1.0, squares)


def best_split(
    candidates: Candidates, guide: np.ndarray, rows: np.ndarray, growth: Growth
) -> tuple[int, float] | None:
    """The hyperplane and the value that it is cut at; None where nothing is left to tell apart."""
    here, least = guide[rows], growth.min_samples_leaf
    count = len(rows)
    if count < 2 * least or not _differ(here):
        return None
    total = here.sum(0)
    base = float(total @ total) / count
    spread = float((here**2).sum()) - base
    values = candidates.values[rows]
    over = values > 0
    counts = over.sum(0)
    gains = _gain(over.T.astype(float) @ here, counts, total, count) - base
    gains[(counts < least) | (count - counts < least)] = -np.inf
    plane = int(gains.argmax())
    best, cut = float(gains[plane]), 0.0
    if growth.shift:
        # Those that leave one side too small as they are may do when they are moved.
        order = np.argsort(-gains, kind="stable")[:FINALISTS]
        for other in order:
            gain, where = _shifted(values[:, other], here, least)
            if gain - base > best + NOISE * spread:
                best, plane, cut = gain - base, int(other), where
    return (plane, cut) if best > NOISE * spread else None


def _gain(over: np.ndarray, counts: np.ndarray, total: np.ndarray, count: int) -> np.ndarray:
    """What splitting leaves explained: |sum|^2 / count of both sides, of each hyperplane.

    Args:
        over: (planes, outputs): sums of what lies above each.
        counts: (planes,): how much that is.
        total: (outputs,): the sum of all.
        count: of all.
    """
    under = total - over
    found: np.ndarray = (over**2).sum(1) / np.maximum(counts, 1)
    return found + (under**2).sum(1) / np.maximum(count - counts, 1)


def _shifted(values: np.ndarray, here: np.ndarray, least: int) -> tuple[float, float]:
    """The best place to cut along one normal, as `_gain` has it, and the value there."""
    order = np.argsort(values, kind="stable")
    ordered, count = values[order], len(values)
    sums = np.cumsum(here[order], axis=0)
    below = np.arange(1, count)
    gains = _gain(sums[-1] - sums[:-1], count - below, sums[-1], count)
    apart = ordered[1:] > ordered[:-1]
    gains[~apart | (below < least) | (count - below < least)] = -np.inf
    at = int(gains.argmax())
    middle = (ordered[at] + ordered[at + 1]) / 2
    return float(gains[at]), float(middle if middle < ordered[at + 1] else ordered[at])


def _decide_alike(one: Node, other: Node) -> bool:
    return (
        isinstance(one, Leaf)
        and isinstance(other, Leaf)
        and one.slopes is other.slopes is None
        and int(one.value.argmax()) == int(other.value.argmax())
    )


def ends(node: Node, x: np.ndarray) -> Iterator[tuple[Leaf, np.ndarray]]:
    """Every leaf, from below to above, with the numbers of the rows (n, columns) that end there."""

    def walk(at: Node, rows: np.ndarray) -> Iterator[tuple[Leaf, np.ndarray]]:
        if isinstance(at, Leaf):
            yield at, rows
            return
        over = x[rows] @ at.normal > at.threshold
        yield from walk(at.below, rows[~over])
        yield from walk(at.above, rows[over])

    yield from walk(node, np.arange(len(x)))


def depth_of(node: Node) -> int:
    """Splits on the longest way from a node to a leaf."""
    return 0 if isinstance(node, Leaf) else 1 + max(depth_of(node.below), depth_of(node.above))


def count_leaves(node: Node) -> int:
    """How many leaves a tree has."""
    return 1 if isinstance(node, Leaf) else count_leaves(node.below) + count_leaves(node.above)


def linear_leaf(
    x: np.ndarray, outputs: np.ndarray, slopes: np.ndarray, deviations: np.ndarray, ridge: float
) -> tuple[np.ndarray, np.ndarray]:
    """The linear function of a leaf: the network's own where its rows lie in one region.

    Where they lie in several, it is the one with the least squared distance from what the network
    says of them, held by a ridge to the mean of the network's functions at those rows.

    Args:
        x: (rows, columns) of the leaf.
        outputs: (rows, outputs) of the network.
        slopes: (rows, outputs, columns) of the network, at each row.
        deviations: (columns,), by which columns compare.
        ridge: on the difference from the mean, beside a variance of 1 in every direction.

    Returns:
        Slopes (outputs, columns) and offsets (outputs,).
    """
    mean, centre, height = slopes.mean(0), x.mean(0), outputs.mean(0)
    places = (x - centre) / deviations
    rest = outputs - height - (x - centre) @ mean.T
    gram = places.T @ places + ridge * len(x) * np.eye(x.shape[1])
    correction = np.linalg.solve(gram, places.T @ rest).T / deviations
    found = mean + correction
    return found, height - found @ centre
