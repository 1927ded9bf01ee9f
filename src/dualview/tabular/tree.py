"""`ObliqueTree`: a decision tree whose splits are hyperplanes of a network of a table.

Axes: rows on axis 0, classes or targets on the last. NumPy, float64.
"""

# ruff: noqa: N803  scikit-learn's interface names the data X
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dualview.arguments import array, class_labels, optional, require, said, whole
from dualview.errors import TableError
from dualview.tabular.growing import Node, count_leaves, depth_of, ends
from dualview.tabular.wording import MOST_WORDS, rules_of, text_of_tree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_DRAWN = 64
"""Leaves of a drawing that can still be read."""


@dataclass(frozen=True, eq=False)
class ObliqueTree:
    """A tree read off a network's gates, by `to_tree`.

    Attributes:
        root: a `Split` with its two sides, or a `Leaf`.
        columns: their names.
        classes: (k,) of a classifier; None: it predicts numbers.
        deviations: (columns,) of the training rows, by which columns of unlike units compare.
        estimator: whose tree it is; its `predict` is what `fidelity` compares with.
    """

    root: Node
    columns: tuple[str, ...]
    classes: np.ndarray | None
    deviations: np.ndarray
    estimator: Any

    @property
    def depth(self) -> int:
        """Splits on the longest way from the root to a leaf."""
        return depth_of(self.root)

    @property
    def n_leaves(self) -> int:
        """How many leaves there are."""
        return count_leaves(self.root)

    def __repr__(self) -> str:
        return f"ObliqueTree(depth {self.depth}, {self.n_leaves} leaves)"

    def predict(self, X: Any) -> np.ndarray:
        """The class of each row (n,), or its numbers as the estimator gives them."""
        found = self._outputs(X)
        if self.classes is not None:
            return self.classes_of(found)
        return found[:, 0] if getattr(self.estimator, "_single", False) else found

    def classes_of(self, outputs: np.ndarray) -> np.ndarray:
        """The class that says most, of outputs (n, k)."""
        assert self.classes is not None
        return self.classes[outputs.argmax(1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class (n, k).

        Of a constant leaf: the shares of the classes that the network chose for its training rows;
        of a linear one: the softmax of its scores.

        Raises:
            TableError: it predicts numbers.
        """
        if self.classes is None:
            raise TableError(
                "predict_proba: expected the tree of a classifier, got one that predicts numbers. "
                "Repair: predict(X)"
            )
        return self._outputs(X)

    def apply(self, X: Any) -> np.ndarray:
        """The number of the leaf that each row ends in (n,), from below to above."""
        x = self.estimator.take_rows(X).numpy()
        found = np.empty(len(x), dtype=np.int64)
        for number, (_, rows) in enumerate(ends(self.root, x)):
            found[rows] = number
        return found

    def fidelity(self, X: Any) -> float:
        """How far it says what the network says: share of equal classes, or R^2 of its numbers."""
        wanted, got = self.estimator.predict(X), self.predict(X)
        return _agreement(wanted, got, self.classes is not None)

    def score(self, X: Any, y: Any) -> float:
        """How far it is right: accuracy, or R^2.

        Args:
            X: rows (n, columns).
            y: their classes, or numbers as the estimator predicts them.

        Raises:
            TableError: X or y does not fit.
        """
        got = self.predict(X)
        check = array if self.classes is None else class_labels
        wanted = require("y", y, check, TableError)
        if wanted.shape != got.shape or (self.classes is None and not np.isfinite(wanted).all()):
            raise TableError(
                f"y: expected what is right for each row, finite and of shape {got.shape}, got "
                f"{said(y)}"
            )
        return _agreement(wanted, got, self.classes is not None)

    def rules(self, most: int | None = None) -> list[str]:
        """A sentence for each leaf: under which conditions which class, or what number.

        Args:
            most: columns that a condition names, those that weigh most; "..." stands for others.
                None: all of them, so that the sentences are the whole tree.
        """
        most = require("most", most, optional(whole(1)), TableError)
        return rules_of(self, most)

    def export_text(self, most: int | None = MOST_WORDS) -> str:
        """The tree as scikit-learn's `export_text` writes one.

        Args:
            most: columns that a condition names; None: all of them.
        """
        most = require("most", most, optional(whole(1)), TableError)
        return text_of_tree(self, most)

    def plot(self, most: int = 3) -> Figure:
        """A drawing: rows go right where the condition holds.

        Args:
            most: columns that a condition names.

        Raises:
            TableError: it has more than 64 leaves.
        """
        from dualview.tabular.figures import tree_figure

        most = require("most", most, whole(1), TableError)
        if self.n_leaves > MOST_DRAWN:
            raise TableError(
                f"plot: expected at most {MOST_DRAWN} leaves to draw, got {self.n_leaves}. Repair: "
                f"to_tree with a smaller max_depth, or export_text()"
            )
        return tree_figure(self, most)

    def _outputs(self, X: Any) -> np.ndarray:
        x = self.estimator.take_rows(X).numpy()
        found = np.empty((len(x), len(self.root.value)))
        for leaf, rows in ends(self.root, x):
            of_leaf = leaf.says if self.classes is None else leaf.shares
            found[rows] = of_leaf(x[rows])
        return found


def _agreement(wanted: np.ndarray, got: np.ndarray, classes: bool) -> float:
    if classes:
        return float((wanted == got).mean())
    from sklearn.metrics import r2_score

    return float(r2_score(wanted, got))
