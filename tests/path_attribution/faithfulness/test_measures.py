"""The measures, against their definitions on arrays small enough to do by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from dualview.path_attribution.faithfulness import measures


def test_positions_lose_all_their_channels():
    z = torch.arange(1.0, 9.0).reshape(1, 2, 2, 2)
    removed = torch.tensor([[[True, False], [False, False]], [[False, False], [True, True]]])
    found = measures.without(z, removed)
    assert found.tolist() == [
        [[[0, 2], [3, 4]], [[0, 6], [7, 8]]],
        [[[1, 2], [0, 0]], [[5, 6], [0, 0]]],
    ]
    features = measures.without(
        torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[True, False, True]])
    )
    assert features.tolist() == [[0, 2, 0]]


def test_what_is_not_finite_is_taken_away_too():
    z = torch.tensor([[float("inf"), 1.0]])
    assert measures.without(z, torch.tensor([[True, False]])).tolist() == [[0, 1]]


def test_masks_of_curves():
    deleted, inserted = measures.curve_masks(torch.tensor([[0.1, 3.0], [-1.0, 0.1]]), (0, 0.5, 1))
    assert deleted.int().tolist() == [[[0, 0], [0, 0]], [[1, 1], [0, 0]], [[1, 1], [1, 1]]]
    assert torch.equal(inserted, ~deleted)


@given(st.integers(1, 6), st.integers(2, 7), st.integers(0, 99))
def test_random_sets_have_their_sizes(size, count, seed):
    size = min(size, count)
    sets = measures.random_sets((count,), (size, 1), 4, torch.Generator().manual_seed(seed))
    assert sets.sum(-1).tolist() == [[size] * 4, [1] * 4]


def test_a_linear_network_is_explained_wholly():
    """Where losses are sums of what positions add, the correlation is 1."""
    draw = torch.Generator().manual_seed(0)
    parts = torch.randn(9, generator=draw, dtype=torch.float64)
    sets = measures.random_sets((9,), (1, 3), 20, draw)
    losses = (sets.double() * parts).sum(-1)
    assert measures.sensitivity(parts, sets, losses) == pytest.approx(1)
    assert measures.sensitivity(-parts, sets, losses) == pytest.approx(-1)


def test_sensitivity_is_the_mean_of_pearsons_correlations():
    draw = torch.Generator().manual_seed(1)
    parts = torch.randn(3, 3, generator=draw, dtype=torch.float64)
    sets = measures.random_sets((3, 3), (2, 4), 10, draw)
    losses = torch.randn(2, 10, generator=draw, dtype=torch.float64)
    expected = [
        pearsonr([float(parts[one].sum()) for one in rows], loss.numpy()).statistic
        for rows, loss in zip(sets, losses, strict=True)
    ]
    assert measures.sensitivity(parts, sets, losses) == pytest.approx(np.mean(expected))


def test_no_correlation_with_what_does_not_vary():
    sets = measures.random_sets((6,), (2,), 5, torch.Generator().manual_seed(0))
    same = torch.full((6,), 1 / 3, dtype=torch.float64)
    losses = torch.arange(5.0, dtype=torch.float64)[None]
    assert measures.sensitivity(same, sets, losses) == 0
    assert measures.rank_correlation(same, torch.arange(6.0)) == 0


def test_rank_correlation_is_spearmans():
    one, other = torch.tensor([3.0, 1.0, 2.0, 2.0]), torch.tensor([0.1, 0.5, -9.0, 4.0])
    expected = spearmanr(one.numpy(), other.numpy()).statistic
    assert measures.rank_correlation(one, other) == pytest.approx(expected)


def test_area_is_the_mean_height():
    assert measures.area(torch.tensor([1.0, 0.0, 0.0]).double(), (0, 0.5, 1)) == 0.25
