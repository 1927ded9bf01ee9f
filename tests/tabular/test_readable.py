"""What is proved of `tabular/readable.py`.

- Names of columns are those given, those of the table, or x0, x1, ...
- Contributions of columns and of gates sum to the decision function or the prediction, to 1e-10.
- The partition of two columns is the network's own gates and decisions at every cell, in units of
  the data.
- What does not fit is refused by name.
"""

import numpy as np
import pandas
import pytest
import torch

from dualview.errors import TableError
from tests.tabular.tables import classes_table, classifier, numbers_table, regressor


@pytest.fixture(scope="module", params=[2, 3, "numbers", "two numbers"])
def fitted(request):
    if isinstance(request.param, int):
        return classifier().fit(*classes_table(classes=request.param))
    x, y = numbers_table()
    return regressor().fit(x, y if request.param == "numbers" else np.stack([y, -y], axis=1))


def test_names():
    x, y = classes_table(columns=3)
    plain = classifier(max_iter=1).fit(x, y)
    assert plain.hyperplanes().columns == ("x0", "x1", "x2")
    assert plain.contributions(x, columns=list("abc")).parts == ("a", "b", "c")
    named = classifier(max_iter=1).fit(pandas.DataFrame(x, columns=["u", "v", "w"]), y)
    assert named.to_tree(pandas.DataFrame(x, columns=["u", "v", "w"])).columns == ("u", "v", "w")
    with pytest.raises(TableError, match="columns: expected 3 names, one for each, got 2"):
        plain.hyperplanes(["a", "b"])
    with pytest.raises(TableError, match="columns: expected a name for each column"):
        plain.hyperplanes([1, 2, 3])
    with pytest.raises(TableError, match="not fitted"):
        classifier().hyperplanes()


@pytest.mark.parametrize("options", [{}, {"of": "gates"}, {"of": "gates", "layer": 0}])
def test_contributions_sum_to_the_score(fitted, options):
    x, _ = classes_table(seed=1)
    found = fitted.contributions(x, **options)
    score = getattr(fitted, "decision_function", fitted.predict)(x).reshape(len(x), -1)
    np.testing.assert_allclose(found.values.sum(2) + found.rest, score, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.totals, score, rtol=1e-10)
    assert found.values.shape == (len(x), len(found.outputs), len(found.parts))
    table = found.to_frame(3)
    np.testing.assert_allclose(table[:-1].sum(), table.loc["total"], rtol=1e-10, atol=1e-10)


def test_contributions_that_are_none(fitted):
    x, _ = classes_table()
    with pytest.raises(TableError, match="layer: expected a whole number from -2 to 1, got 2"):
        fitted.contributions(x, of="gates", layer=2)
    with pytest.raises(TableError, match="of: expected 'columns' or 'gates'"):
        fitted.contributions(x, of="rows")
    with pytest.raises(TableError, match="features"):
        fitted.contributions(x[:, 1:])


@pytest.mark.parametrize("gates", ["hard", "soft"])
def test_a_partition_of_two_columns(gates):
    x, y = classes_table()
    fitted = classifier(gates=gates).fit(x, y)
    at = x[3]
    found = fitted.partition("x0", 2, at=at, reach=2.0)
    deviations = fitted.net_.input_transform.std.numpy()
    wanted = [at[0] - 2 * deviations[0], at[0] + 2 * deviations[0]]
    wanted += [at[2] - 2 * deviations[2], at[2] + 2 * deviations[2]]
    np.testing.assert_allclose(found.window, wanted)
    rows = np.tile(at, (len(found.cells), 1))
    rows[:, [0, 2]] = [cell.mean(0) for cell in found.cells]
    planes = fitted.hyperplanes()
    order = [layer * 6 + unit for layer, unit in found.line_gates]
    on = rows @ planes.normals.T + planes.offsets > 0
    np.testing.assert_array_equal(on[:, order], found.cell_gates)
    sides = rows[:, [0, 2]] @ found.lines[:, :2].T + found.lines[:, 2] > 0
    np.testing.assert_array_equal(sides, found.cell_gates)
    if gates == "hard":
        middles = np.tile(at, (len(found.decisions), 1))
        middles[:, [0, 2]] = [part.mean(0) for part in found.decisions]
        np.testing.assert_array_equal(fitted.predict(middles), fitted.classes_[found.classes])


def test_partitions_that_are_none():
    fitted = classifier(max_iter=1).fit(*classes_table())
    with pytest.raises(TableError, match=r"first: expected one of x0.*'x1', got 'x9'|first: exp"):
        fitted.partition("x9", "x0")
    with pytest.raises(TableError, match="second: expected another column than first"):
        fitted.partition("x0", 0)
    with pytest.raises(TableError, match="second: expected a whole number from 0 to 3, got 4"):
        fitted.partition("x0", 4)
    with pytest.raises(TableError, match="at: expected one row of 4 finite numbers"):
        fitted.partition(0, 1, at=[1.0])


def test_trees_that_are_none(fitted):
    x, _ = classes_table()
    for options, message in (
        ({"max_depth": 0}, "max_depth: expected a whole number from 1 on, got 0"),
        ({"leaves": "cubic"}, "leaves: expected 'constant' or 'linear', got 'cubic'"),
        ({"shift": "yes"}, "shift: expected True or False"),
        ({"min_samples_leaf": 0}, "min_samples_leaf: expected a whole number from 1 on"),
    ):
        with pytest.raises(TableError, match=message):
            fitted.to_tree(x, **options)


def test_rows_as_the_network_takes_them(fitted):
    x, _ = classes_table()
    found = fitted.take_rows(x.astype(np.float32))
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, x, rtol=1e-6)
