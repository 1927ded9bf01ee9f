"""What is proved of `tabular/growing.py`.

- The first split is the best of all hyperplanes, and with `shift` of all places to cut along the
  best of them, by squared error counted out one by one.
- A target that a tree of given hyperplanes makes is found whole; a pure node is a leaf.
- Each row ends in one leaf, on the right side of every split.
- A leaf's linear function is the network's own in one region, and least squares over several.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualview.tabular.growing import (
    Candidates,
    Growth,
    Leaf,
    count_leaves,
    ends,
    grow,
    linear_leaf,
    simplified,
)


def candidates(x, planes=6, seed=0):
    rng = np.random.default_rng(seed)
    normals, offsets = rng.standard_normal((planes, x.shape[1])), rng.standard_normal(planes)
    lengths = np.linalg.norm(normals, axis=1)
    return Candidates(normals, offsets, x @ normals.T + offsets, lengths)


def grown(x, said, depth, *, guide=None, shift=False, least=1, constant=True):
    def leaf(rows):
        return Leaf(said[rows].mean(0), len(rows))

    found, growth = candidates(x), Growth(depth, least, shift, constant)
    return grow(found, said, said if guide is None else guide, growth, leaf), found


def error(said, over):
    """Squared error of two means."""
    parts = [said[over], said[~over]]
    return sum(((part - part.mean(0)) ** 2).sum() for part in parts if len(part))


@given(st.integers(0, 10**6), st.integers(1, 4), st.booleans())
@settings(max_examples=25, deadline=None)
def test_the_first_split_is_the_best(seed, least, shift):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((14, 3))
    said = np.eye(3)[rng.integers(0, 3, 14)]
    root, found = grown(x, said, 1, shift=shift, least=least)
    errors = []
    for plane in range(6):
        values = np.sort(found.values[:, plane])
        cuts = (values[1:] + values[:-1]) / 2 if shift else [0.0]
        for over in (found.values[:, plane] > cut for cut in cuts):
            if least <= over.sum() <= 14 - least:
                errors.append(error(said, over))
    here = ((said - said.mean(0)) ** 2).sum()
    if isinstance(root, Leaf):
        assert not errors or min(errors) == pytest.approx(here)
    else:
        assert error(said, x @ root.normal > root.threshold) == pytest.approx(min(errors))
        cut = root.threshold + found.offsets[root.gate]
        assert root.shift == pytest.approx(cut / np.linalg.norm(root.normal))


def test_a_tree_is_found_whole():
    x = np.random.default_rng(1).standard_normal((400, 3))
    values = candidates(x).values
    said = np.where(values[:, 2] > 0, np.where(values[:, 4] > 0, 5.0, 1.0), -3.0)[:, None]
    root, _ = grown(x, said, 4)
    assert (root.gate, root.above.gate) == (2, 4)
    assert isinstance(root.below, Leaf)
    leaves = [(leaf.value[0], len(rows)) for leaf, rows in ends(root, x)]
    assert leaves == [(-3, (said == -3).sum()), (1, (said == 1).sum()), (5, (said == 5).sum())]


def test_a_chessboard_needs_a_guide():
    """Classes tell nothing of the first of two splits; the guide differs on its sides."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((800, 3))
    values = candidates(x).values
    sides = values[:, [1, 3]] - np.median(values[:, [1, 3]], axis=0) > 0
    said = np.eye(2)[(sides[:, 0] ^ sides[:, 1]).astype(int)]
    guide = np.column_stack([4.0 * sides[:, 0], sides[:, 1]])
    root, _ = grown(x, said, 2, guide=guide, shift=True)
    assert (root.gate, root.below.gate, root.above.gate) == (1, 3, 3)
    agree = sum((said[rows] == leaf.value.round()).all(1).sum() for leaf, rows in ends(root, x))
    assert agree == 800


def test_leaves_without_splits():
    """Constant leaves stop where one thing is said; others where the guide has nothing more."""
    x, said = np.random.default_rng(0).standard_normal((30, 3)), np.ones((30, 1))
    guide = x[:, :1]
    assert count_leaves(grown(x, said, 3, guide=guide)[0]) == 1
    assert count_leaves(grown(x, said, 3, guide=guide, constant=False)[0]) > 1
    assert count_leaves(grown(x, said, 3, guide=said, constant=False)[0]) == 1


def test_leaves_that_decide_alike_become_one():
    x = np.linspace(-1, 1, 60)[:, None]
    rare = np.where(x[:, 0] < 0, np.arange(60) % 15 == 0, np.arange(60) % 3 == 0)
    said = np.eye(2)[rare.astype(int)]
    apart, _ = grown(x, said, 1, shift=True, least=9)
    one = simplified(apart)
    assert [int(side.value.argmax()) for side in (apart.below, apart.above)] == [0, 0]
    assert isinstance(one, Leaf)
    assert one.rows == 60


def test_linear_leaves_that_one_class_is_told_of():
    line = (np.ones((2, 3)), np.zeros(2))
    pure, mixed = Leaf(np.array([0.0, 1.0]), 4, *line), Leaf(np.array([0.25, 0.75]), 4, *line)
    assert simplified(pure).slopes is None
    assert simplified(mixed) is mixed
    x = np.random.default_rng(0).standard_normal((5, 3))
    np.testing.assert_allclose(mixed.shares(x), 0.5)  # of two equal scores
    np.testing.assert_array_equal(simplified(pure).shares(x), [[0, 1]] * 5)


def test_rows_end_in_one_leaf():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 3))
    root, _ = grown(x, rng.standard_normal((50, 1)), 4, shift=True)
    rows = np.concatenate([rows for _, rows in ends(root, x)])
    assert sorted(rows) == list(range(50))


def test_a_linear_leaf():
    rng = np.random.default_rng(0)
    x, scales = rng.standard_normal((30, 3)) * [1, 10, 100], np.array([1.0, 10.0, 100.0])
    slopes, offset = rng.standard_normal((2, 3)), rng.standard_normal(2)
    one_region = np.tile(slopes, (30, 1, 1))
    found = linear_leaf(x, x @ slopes.T + offset, one_region, scales, ridge=5.0)
    np.testing.assert_allclose(found[0], slopes, rtol=1e-10)
    np.testing.assert_allclose(found[1], offset, rtol=1e-8, atol=1e-10)
    outputs = rng.standard_normal((30, 2))
    found = linear_leaf(x, outputs, rng.standard_normal((30, 2, 3)), scales, ridge=0.0)
    with_ones = np.column_stack([x, np.ones(30)])
    wanted = np.linalg.lstsq(with_ones, outputs, rcond=None)[0]
    np.testing.assert_allclose(found[0], wanted[:3].T, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found[1], wanted[3], rtol=1e-6)
