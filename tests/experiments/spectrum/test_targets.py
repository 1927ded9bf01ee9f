"""Properties proved here.

1. A target is the product of sines, number by number, and has k periods along each axis.
2. Points learnt from and points tested on are grids of equal spacing that share no point, inside
   the unit square.
3. What networks read is centred.
"""

import math

import pytest
import torch

from dualview.experiments.spectrum.targets import (
    network_input,
    target,
    train_points,
    unseen_points,
)


@pytest.mark.parametrize("dimension", [1, 2])
def test_written_out(dimension):
    x = torch.rand(5, dimension, dtype=torch.float64)
    values = target(x, (1, 3, 8))
    for row, k in enumerate((1, 3, 8)):
        for column, point in enumerate(x.tolist()):
            expected = math.prod(math.sin(2 * math.pi * k * coordinate) for coordinate in point)
            assert values[row, column].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", [1, 2, 16])
def test_periods(k):
    spectrum = torch.fft.fft(target(train_points(1, 64), (k,))[0]).abs()
    assert set((spectrum > 1e-9).nonzero()[:, 0].tolist()) == {k, 64 - k}


@pytest.mark.parametrize("dimension", [1, 2])
def test_points(dimension):
    train, unseen = train_points(dimension, 6), unseen_points(dimension, 6)
    assert train.shape == unseen.shape == (6**dimension, dimension)
    assert not {tuple(x) for x in train.tolist()} & {tuple(x) for x in unseen.tolist()}
    torch.testing.assert_close(unseen - train, torch.full_like(train, 0.5 / 6))
    for points in (train, unseen):
        assert ((points > 0) & (points < 1)).all()
        assert len(points.unique(dim=0)) == 6**dimension
    torch.testing.assert_close(network_input(train).mean(), torch.tensor(-0.5 / 6).double())
    assert network_input(train).abs().max() <= 1
