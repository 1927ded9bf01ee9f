"""Stratified splits, for random class sizes and fractions.

- Every row is in exactly one split, in ascending order.
- Each class gives each split its exact share rounded down or up, and at least one example.
- The size of a split is the rounded share of all, unless at-least-one needs more.
- The draw depends on the seed and the labels alone; another seed draws another split.
- A class that is too small is refused by name; nothing else is.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualview.datasets.splits import stratified_counts, stratified_split
from dualview.errors import DataError

sizes_of_classes = st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any)
shares = st.floats(0.01, 0.6)


def names(k):
    return tuple(f"class {i}" for i in range(k))


@given(sizes_of_classes, shares)
def test_counts(sizes, fraction):
    sizes = np.array(sizes)
    counts = stratified_counts(sizes, fraction)
    exact = sizes * fraction
    assert (counts >= np.floor(exact)).all()
    assert (counts <= np.ceil(exact)).all()
    assert (counts[sizes > 0] >= 1).all()
    least = np.maximum(np.floor(exact), sizes > 0).sum()
    assert counts.sum() == max(round(exact.sum()), least)


@given(sizes_of_classes, shares, shares, st.integers(0, 2**32), st.randoms())
def test_split_is_a_partition(sizes, validation, test, seed, random):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    random.shuffle(labels)
    fractions = {"validation": validation, "test": test}
    per_class = np.array(sizes)
    cut = {name: stratified_counts(per_class, share) for name, share in fractions.items()}
    too_small = ((per_class - sum(cut.values()) < 1) & (per_class > 0)).any()
    if too_small:
        with pytest.raises(DataError, match="too few"):
            stratified_split(labels, fractions, seed, names(len(sizes)), "f")
        return
    rows = stratified_split(labels, fractions, seed, names(len(sizes)), "f")
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(len(labels)))
    for name, count in cut.items():
        assert np.bincount(labels[rows[name]], minlength=len(sizes)).tolist() == count.tolist()
    for chosen in rows.values():
        assert len(chosen)
        assert (np.diff(chosen) > 0).all()


def test_seeded():
    labels = np.repeat([0, 1, 2], 50)
    first, again, other = (
        stratified_split(labels, {"test": 0.2}, seed, names(3), "f")["test"] for seed in (1, 1, 2)
    )
    assert first.tolist() == again.tolist() != other.tolist()


def test_tiny_class_is_named():
    labels = np.array([0] * 9 + [1] * 2)
    with pytest.raises(DataError, match=r"f: class 'class 1' has 2 example\(s\), too few"):
        stratified_split(labels, {"validation": 0.1, "test": 0.2}, 0, names(2), "f")


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_share_outside_0_1(share):
    with pytest.raises(DataError, match=r"test=.*between 0 and 1"):
        stratified_split(np.array([0, 0, 0]), {"test": share}, 0, names(1), "f")
