"""Nearest gates by hand; what is measured of a small tree.

- The gate of the nearest direction is found whatever its length and sign; its offset is compared
  along the node's direction; gates without a direction are left out.
- Every estimator and both trees have an accuracy; angles are there before, while and after the
  networks train.
"""

import numpy as np
import pytest

from dualview.experiments.trees.labels import RandomTree
from dualview.experiments.trees.measure import Task, estimators, nearest_gates, tree_measured
from dualview.experiments.trees.tables import ESTIMATORS
from dualview.tabular.readings import Hyperplanes


def test_nearest_gates_by_hand():
    tree = RandomTree(np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), np.array([0.5, 0, -1]), 2)
    normals = np.array([[-3.0, 0.0], [2.0, 2.0], [0.0, 0.0]])
    planes = Hyperplanes(
        ("a", "b"), np.zeros(3), np.arange(3), normals, np.array([6.0, 4.0, 1.0]), np.ones(2)
    )
    angles, offsets = nearest_gates(tree, planes)
    slanted = np.degrees(np.arccos(1.4 / np.sqrt(2)))
    assert angles == pytest.approx([0, 45, slanted], abs=1e-5)
    # -3 a + 6 > 0 ends at a = 2; 2 a + 2 b + 4 > 0 ends at -4 / |(2, 2)| along its direction
    assert offsets == pytest.approx([1.5, np.sqrt(2), np.sqrt(2) - 1])


def test_what_is_measured():
    task = Task(3, 80, 40, 2, width=4, depth=3, epochs=1, seed=0)
    found = tree_measured(task)
    assert found["estimators"] == list(ESTIMATORS)
    assert set(estimators(task)) == {name for name in ESTIMATORS if not name.endswith("-tree")}
    assert all(0 <= accuracy <= 1 for accuracy in found["accuracies"])
    for kind in ("dlgn", "dlgn-sf"):
        for ending in ("", "-start"):
            assert len(found[f"angles-{kind}{ending}"]) == len(found["levels"]) == 3
    assert found["angles-dlgn"] != found["angles-dlgn-start"]
    assert found["passes"] == [1]
    assert found["moving-dlgn"] != [found["angles-dlgn-start"]]
    assert [len(angles) for angles in found["moving-dlgn-sf"]] == [3]
    assert [len(offsets) for offsets in found["moving-offsets-dlgn"]] == [3]
