"""What is proved of `tabular/tree_building.py`.

- A tree has the network's hyperplanes where they are not moved; depth and rows of leaves are kept.
"""

import numpy as np
import pytest

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
