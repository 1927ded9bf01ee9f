"""Properties proved here.

1. Errors are those of each draw in the Frobenius norm, relative to what that draw estimates.
2. The slope of errors that fall exactly as a power is that power, for any power, without error;
   that of noisy ones is off by about its standard error, over many repetitions.
3. The mean over draws is compared in units of each draw's kernel, with the standard error of the
   deviations, so that different networks can be pooled.
4. The record of a curve holds means, sample deviations and counts of the draws.
"""

import math

import pytest
import torch

from dualview.experiments.theory.measurement import Measurement, Sample, Series, curve_record


def sample(size, errors, kernel=None):
    """Draws whose deviations have the relative norms `errors`, alternating in sign."""
    kernel = torch.eye(2).double() * 3 if kernel is None else kernel
    signs = [(-1) ** k for k in range(len(errors))]
    estimates = [kernel * (1 + s * e) for s, e in zip(signs, errors, strict=True)]
    return Sample(size, torch.stack(estimates), kernel.expand(len(errors), 2, 2))


def test_errors():
    assert sample(8, [0.1, 0.3, 0.2]).errors.tolist() == pytest.approx([0.1, 0.3, 0.2])


@pytest.mark.parametrize("power", [-1.0, -0.5, -1 / 3, 0.25])
def test_slope_of_a_power(power):
    samples = tuple(sample(size, [0.9 * size**power] * 4) for size in (8, 16, 64, 100))
    measurement = Measurement(samples, 4, 8, 12, "draws")
    slope, error = measurement.slope()
    assert slope == pytest.approx(power)
    assert error < 1e-12
    (pair,) = measurement.slope_sides().pairs
    assert (float(pair.left), float(pair.right)) == (pytest.approx(power), -0.5)
    assert float(pair.standard_error) == error
    for sides in (measurement.slope_sides(), measurement.mean_sides()):
        assert (sides.n, sides.unit) == (12, "draws")


def test_slope_of_larger_sizes():
    samples = tuple(sample(s, [0.1 if s < 16 else s**-0.5] * 4) for s in (4, 8, 16, 32, 64))
    assert Measurement(samples, 4, 16, 20, "draws").slope()[0] == pytest.approx(-0.5)
    assert Measurement(samples, 4, 8, 20, "draws").slope()[0] != pytest.approx(-0.5)


def test_standard_error_of_the_slope():
    found = []
    for _ in range(200):
        errors = {size: torch.rand(64) * 2 * size**-0.5 for size in (8, 16, 32, 64)}
        samples = tuple(sample(size, values.tolist()) for size, values in errors.items())
        found.append(Measurement(samples, 16, 8, 256, "draws").slope())
    slopes, standard_errors = torch.tensor(found).T
    assert abs(float(slopes.mean()) + 0.5) < 0.01
    assert float(standard_errors.mean()) == pytest.approx(float(slopes.std()), rel=0.15)


def test_mean_pools_different_kernels():
    one, other = torch.eye(2).double(), torch.full((2, 2), 10.0).double()
    expected = torch.stack([one, other, one, other])
    estimates = expected * torch.tensor([1.2, 1.2, 0.8, 0.8]).double()[:, None, None]
    pair = Sample(4, estimates, expected).mean_pair()
    torch.testing.assert_close(pair.left, pair.right)
    norms = torch.tensor([2**0.5, 20.0]).double()
    torch.testing.assert_close(pair.right[0, 0], (1 / norms[0] + 10 / norms[1]) / 2)
    deviations = torch.tensor([0.2 / norms[0], 2 / norms[1], -0.2 / norms[0], -2 / norms[1]])
    torch.testing.assert_close(pair.standard_error[0, 0], deviations.std() / 2)


def test_record():
    series = Series("name", "width", "label", "dgn", "network", lambda settings: None)
    measurement = Measurement((sample(8, [0.1, 0.3]), sample(32, [0.05, 0.15])), 2, 8, 4, "draws")
    record = curve_record(series, measurement, 1.25)
    assert (record.name, record.figure, record.label) == ("name", "width", "label")
    assert (record.kind, record.network, record.seconds) == ("dgn", "network", 1.25)
    first, second = record.points
    assert (first.size, first.draws, second.size) == (8, 2, 32)
    assert first.error_mean == pytest.approx(0.2)
    assert first.error_rms == pytest.approx(math.sqrt(0.05))
    assert (first.error_low, first.error_high) == (pytest.approx(0.12), pytest.approx(0.28))
    assert first.error_sd == pytest.approx(math.sqrt(0.02))
    assert first.mean_off == pytest.approx(0.1)
    assert (record.slope, record.fit_from) == (pytest.approx(-0.5), 8)
