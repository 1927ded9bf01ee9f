"""What is proved of `tabular/tree.py`.

- Predictions are those of the tree's rules and text, evaluated by hand from their words.
- Probabilities are shares, or the softmax of linear scores; fidelity and score are what they say.
- A network that is piecewise constant on its own hyperplanes is copied whole; so is a linear leaf.
- What has no meaning is refused.
"""

import operator
import re

import numpy as np
import pandas
import pytest
from sklearn.metrics import r2_score

from dualview.errors import TableError
from tests.tabular.tables import classes_table, classifier, numbers_table, regressor


def value_of(words, row):
    """The sum of weighted columns that words spell out."""
    terms = re.findall(r"(-?) ?([\d.e+-]+) x(\d)", words.replace("+ ", ""))
    assert len(terms) == len(row)
    return sum((-1 if sign else 1) * float(size) * row[int(name)] for sign, size, name in terms)


COMPARED = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}


def holds(condition, row):
    words, sign, threshold = re.fullmatch(r"(.*) (<=|>=|<|>) (\S+)", condition).groups()
    return COMPARED[sign](value_of(words, row), float(threshold))


@pytest.fixture(scope="module")
def learnt():
    x, y = classes_table(120)
    fitted = classifier(width=12, max_iter=40).fit(x, np.array(["ant", "bee", "cat"])[y])
    return fitted, x


def test_rules_by_hand(learnt):
    fitted, x = learnt
    tree = fitted.to_tree(x, max_depth=3)
    rules = [re.fullmatch(r"if (.*), then (\w+) .*", rule).groups() for rule in tree.rules()]
    assert len(rules) == tree.n_leaves > 2
    predicted, leaves = tree.predict(x), tree.apply(x)
    differ = 0
    for row, wanted, leaf in zip(x, predicted, leaves, strict=True):
        true = [
            number
            for number, (given, _) in enumerate(rules)
            if all(holds(condition, row) for condition in given.split(" and "))
        ]
        differ += true != [leaf]  # numbers of four digits: a row at a border may go elsewhere
        assert rules[leaf][1] == wanted
    assert differ <= 2


def test_text_of_a_tree(learnt):
    fitted, x = learnt
    tree = fitted.to_tree(x, max_depth=2)
    lines = tree.export_text(most=None).splitlines()
    assert sum("class:" in line for line in lines) == tree.n_leaves
    assert all(re.match(r"(\|   )*\|--- (class: |[\d.]+)", line) for line in lines)
    assert "..." in tree.export_text(most=1)
    assert "..." not in tree.export_text(most=None)


def test_probabilities(learnt):
    fitted, x = learnt
    constant = fitted.to_tree(x, max_depth=3, min_samples_leaf=1)
    leaves, chosen = constant.apply(x), fitted.predict(x)
    for leaf in range(constant.n_leaves):
        rows = leaves == leaf
        wanted = [(chosen[rows] == name).mean() for name in fitted.classes_]
        np.testing.assert_allclose(constant.predict_proba(x[rows]), [wanted] * rows.sum())
    linear = fitted.to_tree(x, max_depth=3, leaves="linear")
    np.testing.assert_allclose(linear.predict_proba(x).sum(1), 1)
    best = linear.predict_proba(x).argmax(1)
    np.testing.assert_array_equal(linear.predict(x), fitted.classes_[best])


def test_fidelity_and_score(learnt):
    fitted, x = learnt
    tree, names = fitted.to_tree(x, max_depth=2), fitted.predict(x)
    assert tree.fidelity(x) == (tree.predict(x) == names).mean() > 0.8
    assert tree.score(x, np.full(len(x), "bee")) == (tree.predict(x) == "bee").mean()
    assert repr(tree) == f"ObliqueTree(depth {tree.depth}, {tree.n_leaves} leaves)"


@pytest.mark.parametrize("outputs", [1, 2])
def test_numbers(outputs):
    x, y = numbers_table(150)
    y = y if outputs == 1 else np.stack([y, 3 * y], axis=1)
    fitted = regressor(max_iter=40).fit(x, y)
    tree = fitted.to_tree(x, max_depth=4)
    assert tree.predict(x).shape == y.shape
    assert tree.fidelity(x) == pytest.approx(r2_score(fitted.predict(x), tree.predict(x)))
    assert tree.score(x, y) == pytest.approx(r2_score(y, tree.predict(x)))
    linear = fitted.to_tree(x, max_depth=4, leaves="linear")
    assert linear.fidelity(x) > max(0.9, tree.fidelity(x))
    with pytest.raises(TableError, match="predict_proba: expected the tree of a classifier"):
        tree.predict_proba(x)
    assert "value: " in linear.export_text()


def test_a_network_of_constants_is_copied_whole():
    x, y = classes_table(60)
    fitted = classifier(weights_input="ones", width=2, max_iter=40).fit(x, y)
    tree = fitted.to_tree(x, max_depth=4, min_samples_leaf=1, shift=False)
    assert tree.fidelity(x) == 1
    new, _ = classes_table(40, seed=1)
    planes = fitted.hyperplanes()
    known, on = (
        [tuple(row) for row in rows @ planes.normals.T + planes.offsets > 0] for rows in (x, new)
    )
    seen = np.array([pattern in known for pattern in on])
    assert seen.any()
    np.testing.assert_array_equal(tree.predict(new[seen]), fitted.predict(new[seen]))


def test_tables_with_names():
    x, y = classes_table()
    table = pandas.DataFrame(x, columns=["age", "height", "weight", "income"])
    tree = classifier().fit(table, y).to_tree(table, max_depth=2)
    np.testing.assert_array_equal(tree.predict(table), tree.predict(table.copy()))
    assert re.search("age|height|weight|income", tree.export_text())
    with pytest.raises(TableError, match="feature names should match"):
        tree.predict(table[table.columns[::-1]])


def test_trees_without_splits():
    x, y = classes_table(20)
    tree = classifier(max_iter=1).fit(x, y).to_tree(x, min_samples_leaf=11)
    assert (tree.depth, tree.n_leaves) == (0, 1)
    assert tree.rules()[0].startswith("always ")


def test_too_many_leaves_to_draw(learnt, monkeypatch):
    fitted, x = learnt
    tree = fitted.to_tree(x)
    monkeypatch.setattr("dualview.tabular.tree.MOST_DRAWN", 1)
    with pytest.raises(TableError, match=r"plot: expected at most 1 leaves to draw.*max_depth"):
        tree.plot()
    with pytest.raises(TableError, match="most: expected a whole number from 1 on"):
        tree.rules(most=0)
