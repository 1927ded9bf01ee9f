"""What is proved of `tabular/wording.py`.

- Inequalities say what numbers say, whatever the sign, the first column with a weight above 0.
- Linear leaves of two classes, several classes and numbers are spelled out.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualview.tabular.growing import Leaf, Split
from dualview.tabular.tree import ObliqueTree
from dualview.tabular.wording import inequality, weighed

UNITS = np.ones(2)


@given(st.integers(0, 10**6), st.sampled_from([">", "<="]))
@settings(max_examples=30, deadline=None)
def test_inequalities_hold_where_numbers_do(seed, sign):
    rng = np.random.default_rng(seed)
    normal, threshold, row = rng.standard_normal(2), rng.standard_normal(), rng.standard_normal(2)
    words = inequality(["a", "b"], normal, threshold, UNITS, None, sign)
    assert words[0] != "-"
    left, shown, right = words.partition({">": " > ", "<=": " <= "}[sign])
    if not shown:
        left, shown, right = words.partition({">": " < ", "<=": " >= "}[sign])
    total = 0.0
    for term in left.replace("- ", "+ -").split(" + "):
        number, name = term.split(" ")
        total += float(number) * row["ab".index(name)]
    wanted = normal @ row > threshold
    if abs(normal @ row - threshold) > 1e-2:
        found = {">": total > float(right), "<": total < float(right)}[shown.strip()[0]]
        assert found == (wanted if sign == ">" else not wanted)


def test_sums():
    assert weighed(["a", "b"], np.array([-1.0, 0.0]), UNITS, None) == "-1 a"
    assert weighed(["a", "b"], np.zeros(2), UNITS, None) == "0"
    assert weighed(["a", "b"], np.array([1.0, -3.0]), UNITS, 1) == "-3 b + ..."


@pytest.mark.parametrize(
    ("classes", "wanted"),
    [
        (["no", "yes"], "yes if 0.8 b + 0.6 a > 0.2, else no"),
        (["p", "q", "r"], "the largest of p: 0 + 1; q: 4 b + 3 a + 0; r: -1 a - 2"),
        (None, "0 + 1, 4 b + 3 a + 0, -1 a - 2"),
    ],
)
def test_linear_leaves(classes, wanted):
    count = 2 if classes and len(classes) == 2 else 3
    slopes, offset = np.array([[0, 0], [3.0, 4], [-1, 0]])[:count], np.array([1.0, 0, -2])[:count]
    leaf = Leaf(np.full(count, 1 / count), 5, slopes, offset)
    split = Split(np.array([0.0, -2.0]), 4.0, 0, 0.0, 10, leaf.value, leaf, leaf)
    names = None if classes is None else np.array(classes)
    tree = ObliqueTree(split, ("a", "b"), names, UNITS, None)
    assert tree.rules() == [f"if 1 b >= -2, then {wanted}", f"if 1 b < -2, then {wanted}"]
