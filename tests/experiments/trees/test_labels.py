"""Random trees, against a walk row by row.

- Labels are those of the walk; each node halves the rows that come to it; directions have length 1.
- The same generator draws the same tree.
"""

import numpy as np

from dualview.experiments.trees.labels import random_tree


def walked(tree, row):
    """The label of one row, and the nodes on its way."""
    node, way = 0, []
    for _ in range(tree.depth):
        way.append(node)
        right = sum(a * b for a, b in zip(row, tree.normals[node], strict=True))
        node = 2 * node + (2 if right > tree.thresholds[node] else 1)
    return int(node % 2 == 0), way


def test_labels_and_halves():
    tree = random_tree(5, 3, np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((4000, 5))
    found = [walked(tree, row) for row in x]
    assert tree.labels(x).tolist() == [label for label, _ in found]
    counts = np.bincount([node for _, way in found for node in way], minlength=7)
    np.testing.assert_allclose(counts / 4000, [1, 0.5, 0.5, *[0.25] * 4], atol=0.04)
    np.testing.assert_allclose(np.linalg.norm(tree.normals, axis=1), 1)
    assert tree.levels.tolist() == [0, 1, 1, 2, 2, 2, 2]
    again = random_tree(5, 3, np.random.default_rng(0))
    assert (again.normals == tree.normals).all()
