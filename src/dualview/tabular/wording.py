"""Trees in words: conditions of hyperplanes, and what a leaf says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dualview.tabular.growing import Leaf, Node, Split

if TYPE_CHECKING:
    from dualview.tabular.tree import ObliqueTree

MOST_WORDS = 4
"""Columns that a hyperplane in words names, where nobody asks for more."""


def weighed(
    columns: Sequence[str], weights: np.ndarray, deviations: np.ndarray, most: int | None
) -> str:
    """A sum of weighted columns, in numbers of four digits, those that weigh most first.

    >>> weighed(["age", "income"], np.array([0.5, -2e-5]), np.array([10.0, 1e4]), None)
    '0.5 age - 2e-05 income'
    """
    sizes = np.abs(weights * deviations)
    order = np.argsort(-sizes, kind="stable")
    order = order[sizes[order] > 0]
    named = order if most is None else order[:most]
    text = ""
    for column in named:
        weight = weights[column]
        joint = (" - " if weight < 0 else " + ") if text else ("-" if weight < 0 else "")
        text += f"{joint}{abs(weight):.4g} {columns[column]}"
    return (text or "0") + (" + ..." if len(named) < len(order) else "")


def inequality(
    columns: Sequence[str],
    normal: np.ndarray,
    threshold: float,
    deviations: np.ndarray,
    most: int | None,
    sign: str = ">",
) -> str:
    """Normal · x > threshold in words, scaled to a standard deviation of 1 if columns were apart.

    Args:
        columns: names.
        normal: (columns,) in units of the data.
        threshold: of normal · x.
        deviations: (columns,), by which columns compare.
        most: columns that are named; None: all.
        sign: ">" or "<=".

    >>> inequality(["age", "income"], np.array([-0.1, 2e-5]), 1.0, np.array([10.0, 1e4]), None)
    '0.09806 age - 1.961e-05 income < -0.9806'
    """
    sizes = normal * deviations
    scale = float(np.linalg.norm(sizes)) or 1.0
    if sizes[np.argmax(np.abs(sizes))] < 0:
        scale, sign = -scale, {">": "<", "<=": ">="}[sign]
    left = weighed(columns, normal / scale, deviations, most)
    return f"{left} {sign} {threshold / scale:.4g}"


def condition(tree: ObliqueTree, split: Split, above: bool, most: int | None) -> str:
    """One side of a split, in words."""
    sign = ">" if above else "<="
    return inequality(tree.columns, split.normal, split.threshold, tree.deviations, most, sign)


def conclusion(tree: ObliqueTree, leaf: Leaf, most: int | None) -> str:
    """What a leaf says, in words."""
    if leaf.slopes is None or leaf.offset is None:
        if tree.classes is None:
            return ", ".join(f"{value:.4g}" for value in leaf.value)
        best = int(leaf.value.argmax())
        return f"{tree.classes[best]} ({100 * leaf.value[best]:.3g} % of {leaf.rows} rows)"
    if tree.classes is None:
        lines = zip(leaf.slopes, leaf.offset, strict=True)
        return ", ".join(_line(tree, slopes, offset, most) for slopes, offset in lines)
    if len(tree.classes) == 2:
        slopes, offset = leaf.slopes[1] - leaf.slopes[0], leaf.offset[1] - leaf.offset[0]
        says = inequality(tree.columns, slopes, -float(offset), tree.deviations, most)
        return f"{tree.classes[1]} if {says}, else {tree.classes[0]}"
    each = zip(tree.classes, leaf.slopes, leaf.offset, strict=True)
    scores = (f"{name}: {_line(tree, slopes, offset, most)}" for name, slopes, offset in each)
    return f"the largest of {'; '.join(scores)}"


def rules_of(tree: ObliqueTree, most: int | None) -> list[str]:
    """A sentence for each leaf, from below to above."""
    found = []
    for conditions, leaf in _ways(tree, tree.root, (), most):
        given = f"if {' and '.join(conditions)}, then " if conditions else "always "
        found.append(f"{given}{conclusion(tree, leaf, most)}")
    return found


def text_of_tree(tree: ObliqueTree, most: int | None) -> str:
    """Splits and leaves, indented as scikit-learn's `export_text` does it."""

    def lines(node: Node, indent: str) -> Iterator[str]:
        if isinstance(node, Leaf):
            what = "value" if tree.classes is None else "class"
            yield f"{indent}|--- {what}: {conclusion(tree, node, most)}"
            return
        for above, side in ((False, node.below), (True, node.above)):
            yield f"{indent}|--- {condition(tree, node, above, most)}"
            yield from lines(side, f"{indent}|   ")

    return "\n".join(lines(tree.root, "")) + "\n"


def _ways(
    tree: ObliqueTree, node: Node, conditions: tuple[str, ...], most: int | None
) -> Iterator[tuple[tuple[str, ...], Leaf]]:
    if isinstance(node, Leaf):
        yield conditions, node
        return
    for above, side in ((False, node.below), (True, node.above)):
        more = condition(tree, node, above, most)
        yield from _ways(tree, side, (*conditions, more), most)


def _line(tree: ObliqueTree, slopes: np.ndarray, offset: float, most: int | None) -> str:
    sign = "-" if offset < 0 else "+"
    return f"{weighed(tree.columns, slopes, tree.deviations, most)} {sign} {abs(offset):.4g}"
