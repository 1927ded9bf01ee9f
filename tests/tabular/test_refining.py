"""What is proved of `tabular/refining.py`.

- What a tree errs is what its leaves err on the rows that end there, counted out row by row.
- Refining never makes it err more, keeps depth and the least rows of a leaf, and ends where no
  other hyperplane at the root, its sides held, errs less (tried out one by one).
- A tree whose first split was chosen badly is mended.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualview.tabular.growing import (
    Candidates,
    Growth,
    Leaf,
    Split,
    count_leaves,
    ends,
    grow,
    split_at,
)
from dualview.tabular.refining import Refining


def problem(seed, n=60, planes=5, least=3, shift=False):
    """Rows of two classes, hyperplanes, and a tree of depth 2 with what refines it."""
    rng = np.random.default_rng(seed)
    x, normals = rng.standard_normal((n, 3)), rng.standard_normal((planes, 3))
    offsets = rng.standard_normal(planes) / 2
    values = x @ normals.T + offsets
    candidates = Candidates(normals, offsets, values, np.linalg.norm(normals, axis=1))
    wanted = ((values[:, 0] > 0) ^ (values[:, 1] > 0)).astype(int) ^ (rng.random(n) < 0.1)
    told = np.eye(2)[wanted]

    def leaf(rows):
        return Leaf(told[rows].mean(0), len(rows))

    def cost(end, rows):
        return (wanted[rows] != end.value.argmax()).astype(float)

    growth = Growth(2, least, shift, True)
    root = grow(candidates, told, told, growth, leaf)
    return x, wanted, root, Refining(candidates, growth, leaf, cost)


def errors(root, x, wanted):
    return sum((wanted[rows] != leaf.value.argmax()).sum() for leaf, rows in ends(root, x))


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=25, deadline=None)
def test_it_errs_no_more_than_before(seed, shift):
    x, wanted, root, refining = problem(seed, shift=shift)
    better, least = refining.refined(root)
    assert least == errors(better, x, wanted) <= errors(root, x, wanted)
    assert count_leaves(better) == count_leaves(root)
    assert min(len(rows) for _, rows in ends(better, x)) >= 3
    assert all(leaf.rows == len(rows) for leaf, rows in ends(better, x))


@pytest.mark.parametrize("seed", range(4))
def test_no_other_split_is_better(seed):
    x, wanted, root, refining = problem(seed, least=1)
    better, _ = refining.refined(root)
    if isinstance(better, Leaf):
        return
    sides = [
        np.array([errors(side, row[None], wanted[[i]]) for i, row in enumerate(x)])
        for side in (better.below, better.above)
    ]
    held = [
        np.where(refining.candidates.values[:, plane] > 0, sides[1], sides[0]).sum()
        for plane in range(5)
    ]
    assert errors(better, x, wanted) <= min(held)


def test_a_bad_first_split_is_mended():
    _, _, _, refining = problem(0, n=400)
    rows = np.arange(400)
    both = [Leaf(np.eye(2)[k], 1) for k in (0, 1)]
    whole = Leaf(np.array([0.5, 0.5]), 400)

    def side(first, second):
        return split_at(refining.candidates, 1, 0.0, whole, both[first], both[second])

    bad = split_at(refining.candidates, 2, 0.0, whole, side(0, 1), side(1, 0))
    better, least = refining.refined(bad)
    assert isinstance(better, Split)
    assert better.gate == 0
    assert least < 60 < refining.costs(bad, rows).sum()
