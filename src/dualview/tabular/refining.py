"""Refining a tree: each split is chosen anew, the trees on its two sides held.

With its sides held, every row of a split has a cost of going above and one of going below, so that
the best hyperplane is that with the least sum. From the leaves to the root, and again while the
tree errs less. Axes: rows on axis 0; NumPy, float64.

Source: tree alternating optimisation (Carreira-Perpinan and Tavallali, NeurIPS 2018), over given
hyperplanes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dualview.tabular.growing import (
    FINALISTS,
    NOISE,
    Candidates,
    Growth,
    Leaf,
    Node,
    Split,
    split_at,
)

PASSES = 10
"""At most; three or four are usual."""

LeafCost = Callable[[Leaf, np.ndarray], np.ndarray]
"""What a leaf errs on rows, by their numbers: (rows,)."""


@dataclass(frozen=True, eq=False)
class Refining:
    """What does not change while a tree does.

    Attributes:
        candidates: hyperplanes to split by, and the rows' places.
        growth: how large leaves are at least, and whether hyperplanes may move.
        leaf: numbers of rows -> the leaf that they make.
        cost: of rows that end in a leaf.
    """

    candidates: Candidates
    growth: Growth
    leaf: Callable[[np.ndarray], Leaf]
    cost: LeafCost

    def refined(self, root: Node) -> tuple[Node, float]:
        """The tree that errs least of those met, and what it errs."""
        rows = np.arange(len(self.candidates.values))
        best, least = root, float(self.costs(root, rows).sum())
        for _ in range(PASSES):
            root = self._improved(root, rows)
            now = float(self.costs(root, rows).sum())
            if now >= least * (1 - NOISE):
                break
            best, least = root, now
        return best, least

    def costs(self, node: Node, rows: np.ndarray) -> np.ndarray:
        """What a tree errs on rows (n,)."""
        if isinstance(node, Leaf):
            return self.cost(node, rows)
        over, found = self.over(node, rows), np.empty(len(rows))
        found[~over] = self.costs(node.below, rows[~over])
        found[over] = self.costs(node.above, rows[over])
        return found

    def over(self, node: Split, rows: np.ndarray) -> np.ndarray:
        """Which rows go above (n,)."""
        return self.candidates.values[rows, node.gate] > self._cut(node)

    def _cut(self, node: Split) -> float:
        """The value at which its hyperplane is cut."""
        if node.shift == 0:
            return 0.0
        return float(node.threshold + self.candidates.offsets[node.gate])

    def _improved(self, node: Node, rows: np.ndarray) -> Node:
        """Sides first, then the split itself; leaves are made anew of the rows that reach them."""
        if isinstance(node, Leaf):
            return node
        over = self.over(node, rows)
        below = self._improved(node.below, rows[~over])
        above = self._improved(node.above, rows[over])
        here = split_at(self.candidates, node.gate, self._cut(node), self.leaf(rows), below, above)
        more = self.costs(above, rows) - self.costs(below, rows)
        found = self._cheapest(more, rows, float(more[over].sum()))
        if found is None:
            return here
        there = split_at(self.candidates, *found, self.leaf(rows), below, above)
        moved = self._refitted(there, rows)
        return here if moved is None else moved

    def _cheapest(self, more: np.ndarray, rows: np.ndarray, now: float) -> tuple[int, float] | None:
        """The hyperplane and cut with the least sum of `more` above it, if it is less than now."""
        values = self.candidates.values[rows]
        sums = more @ (values > 0)
        plane = int(sums.argmin())
        best, cut = float(sums[plane]), 0.0
        if self.growth.shift:
            for other in np.argsort(sums, kind="stable")[:FINALISTS]:
                total, where = _cheapest_cut(values[:, other], more)
                if total < best - NOISE * np.abs(more).sum():
                    best, plane, cut = total, int(other), where
        return (plane, cut) if best < now - NOISE * np.abs(more).sum() else None

    def _refitted(self, node: Node, rows: np.ndarray) -> Node | None:
        """The same splits with leaves of these rows; None where a leaf has too few."""
        if len(rows) < self.growth.min_samples_leaf:
            return None
        if isinstance(node, Leaf):
            return self.leaf(rows)
        over = self.over(node, rows)
        below = self._refitted(node.below, rows[~over])
        above = self._refitted(node.above, rows[over])
        if below is None or above is None:
            return None
        return split_at(self.candidates, node.gate, self._cut(node), self.leaf(rows), below, above)


def _cheapest_cut(values: np.ndarray, more: np.ndarray) -> tuple[float, float]:
    """The least sum of `more` above a cut between two of the values, and the cut."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    above = np.cumsum(more[order][::-1])[::-1][1:]  # of all but the first k + 1
    above = np.where(ordered[1:] > ordered[:-1], above, np.inf)
    if not len(above) or not np.isfinite(above).any():
        return np.inf, 0.0
    at = int(above.argmin())
    middle = (ordered[at] + ordered[at + 1]) / 2
    return float(above[at]), float(middle if middle < ordered[at + 1] else ordered[at])
