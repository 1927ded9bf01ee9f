"""Random oblique decision trees, and the labels that they give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAMPLE = 4096
"""Rows by which thresholds are set."""


@dataclass(frozen=True, eq=False)
class RandomTree:
    """A complete tree; nodes are numbered from the root, level by level.

    Attributes:
        normals: (nodes, columns), of length 1.
        thresholds: (nodes,): rows go right where normal · x > threshold.
        depth: levels of nodes; the label is on which side of the last one a row lies.
    """

    normals: np.ndarray
    thresholds: np.ndarray
    depth: int

    def labels(self, x: np.ndarray) -> np.ndarray:
        """0 or 1 for each row (n, columns): neighbouring leaves have different labels."""
        at = np.zeros(len(x), dtype=np.int64)
        for _ in range(self.depth):
            right = np.einsum("ij,ij->i", x, self.normals[at]) > self.thresholds[at]
            at = 2 * at + 1 + right
        label: np.ndarray = 1 - at % 2  # right children have even numbers
        return label

    @property
    def levels(self) -> np.ndarray:
        """(nodes,): the level of each node, from 0."""
        return np.floor(np.log2(np.arange(len(self.thresholds)) + 1)).astype(np.int64)


def random_tree(columns: int, depth: int, generator: np.random.Generator) -> RandomTree:
    """Directions drawn alike from all; each node halves the rows that come to it.

    Args:
        columns: of rows, which are standard normal.
        depth: levels of nodes.
        generator: of the draw.

    >>> tree = random_tree(3, 2, np.random.default_rng(0))
    >>> x = np.random.default_rng(1).standard_normal((1000, 3))
    >>> bool(abs(tree.labels(x).mean() - 0.5) < 0.05)
    True
    """
    nodes = 2**depth - 1
    normals = generator.standard_normal((nodes, columns))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    thresholds = np.zeros(nodes)
    rows = [generator.standard_normal((SAMPLE, columns))]
    for node in range(nodes):
        here = rows[node]
        values = here @ normals[node]
        thresholds[node] = np.median(values)
        over = values > thresholds[node]
        rows += [here[~over], here[over]]
    return RandomTree(normals, thresholds, depth)
