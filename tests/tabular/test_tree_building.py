"""What is proved of `tabular/tree_building.py`.

- A tree has the network's hyperplanes where they are not moved; depth and rows of leaves are kept.
- Of the trees that are tried the one that says most often what the network says is taken.
- Main components keep the distances of rows, whole where there are few and nearly where few matter.
- Of many rows some make the tree, the same in every call.
- Where classes alternate like a chessboard's, the tree finds the lines, which a greedy one misses.
"""

import numpy as np
import pytest

from dualview.tabular.tree_building import COMPONENTS, SHARES, _main_components
from tests.tabular.tables import classes_table, classifier, numbers_table, regressor


@pytest.fixture(scope="module", params=[2, 3, "numbers"])
def fitted(request):
    if isinstance(request.param, int):
        return classifier().fit(*classes_table(classes=request.param))
    return regressor().fit(*numbers_table())


@pytest.mark.parametrize("leaves", ["constant", "linear"])
def test_trees_of_the_networks_own_hyperplanes(fitted, leaves):
    x, _ = classes_table()
    tree = fitted.to_tree(x, max_depth=3, min_samples_leaf=7, shift=False, leaves=leaves)
    planes, seen = fitted.hyperplanes(), []

    def walk(node, rows):
        if not hasattr(node, "normal"):
            assert node.rows == len(rows) >= 7
            return
        assert node.rows == len(rows)
        assert node.shift == 0
        seen.append(node)
        np.testing.assert_array_equal(node.normal, planes.normals[node.gate])
        over = x[rows] @ planes.normals[node.gate] + planes.offsets[node.gate] > 0
        walk(node.below, rows[~over])
        walk(node.above, rows[over])

    walk(tree.root, np.arange(len(x)))
    assert tree.depth <= 3
    assert len(seen) == tree.n_leaves - 1 > 0


@pytest.mark.parametrize("leaves", ["constant", "linear"])
def test_the_best_tree_is_taken(fitted, leaves, monkeypatch):
    x, _ = classes_table(150, seed=2)
    taken = fitted.to_tree(x, max_depth=3, leaves=leaves).fidelity(x)
    tried = []
    for share in SHARES:
        monkeypatch.setattr("dualview.tabular.tree_building.SHARES", (share,))
        tried.append(fitted.to_tree(x, max_depth=3, leaves=leaves).fidelity(x))
    assert taken == pytest.approx(max(tried))


def test_a_chessboard():
    x = np.random.default_rng(0).uniform(-1, 1, (400, 2))
    fitted = classifier(width=16, max_iter=60, early_stopping=False).fit(x, x[:, 0] * x[:, 1] > 0)
    assert fitted.to_tree(x, max_depth=3).fidelity(x) > 0.93


def test_main_components():
    rng = np.random.default_rng(0)
    few = rng.standard_normal((40, COMPONENTS))
    assert _main_components(few) is few
    wide = few @ rng.standard_normal((COMPONENTS, 60)) + 1e-3 * rng.standard_normal((40, 60))
    found = _main_components(wide - wide.mean(0))
    assert found.shape == (40, COMPONENTS)
    lengths = [np.linalg.norm(values - values[:1], axis=1) for values in (wide, found)]
    np.testing.assert_allclose(lengths[0], lengths[1], rtol=1e-3)


def test_many_rows(fitted, monkeypatch):
    x, _ = classes_table(100, seed=3)
    monkeypatch.setattr("dualview.tabular.tree_building.MOST_ROWS", 60)
    one, other = (fitted.to_tree(x, max_depth=2) for _ in range(2))
    assert one.root.rows == 60
    np.testing.assert_array_equal(one.predict(x), other.predict(x))
