"""Halves are the same everywhere, and the score is Spearman's correlation over them."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from dualview.experiments.datamodels.subsets import datamodelling_scores, members


def test_halves():
    found = [members(11, number) for number in range(3)]
    assert [len(rows) for rows in found] == [6, 6, 6]
    assert all((np.diff(rows) > 0).all() and rows.max() < 11 for rows in found)
    assert len({tuple(rows) for rows in found}) == 3
    assert members(6, 0).tolist() == [0, 2, 3]  # whatever the platform


def test_scores_are_spearmans():
    draw = np.random.default_rng(0)
    attributions, subsets = draw.normal(size=(3, 8)), draw.integers(0, 2, (9, 8)).astype(float)
    outputs = draw.normal(size=(9, 3))
    expected = [spearmanr(subsets @ attributions[t], outputs[:, t]).statistic for t in range(3)]
    assert datamodelling_scores(attributions, subsets, outputs) == pytest.approx(expected)


def test_what_is_right_scores_1_and_what_says_nothing_0():
    draw = np.random.default_rng(1)
    attributions, subsets = draw.normal(size=(2, 8)), draw.integers(0, 2, (9, 8)).astype(float)
    outputs = subsets @ attributions.T
    assert datamodelling_scores(attributions, subsets, outputs) == pytest.approx([1, 1])
    assert datamodelling_scores(0 * attributions, subsets, outputs).tolist() == [0, 0]
