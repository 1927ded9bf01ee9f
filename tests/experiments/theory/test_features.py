"""Properties proved here: features that are biased, or converge otherwise, are found.

1. Features of another variance, or another kernel, are not unbiased.
2. Where channels become positions, the exact kernel is that of the enumerated paths.
3. An error that does not fall as 1 / sqrt(m) does not have the slope -1/2.
4. Standard errors are those of whole draws: features that share layers are not counted as if they
   were independent.
"""

from dataclasses import replace

import torch

from dualview.experiments.theory import features
from dualview.experiments.theory.measurement import Sample
from dualview.experiments.theory.models import normal, taken_apart
from dualview.path_kernel.kernel import npk
from tests.experiments.theory.checking import all_fail, measured, tried


def test_features_of_another_variance(monkeypatch):
    own = features.npk_features
    monkeypatch.setattr(features, "npk_features", lambda *a, **o: own(*a, **o) * 1.3)
    assert all_fail("unbiased", "exchanged")


def test_wrong_kernels(monkeypatch):
    own, enumerated = features.npk, features.enumerated_npk
    monkeypatch.setattr(features, "npk", lambda *a, **o: own(*a, **o) * 0.6)
    monkeypatch.setattr(features, "enumerated_npk", lambda *a, **o: enumerated(*a, **o) * 0.6)
    assert all_fail("unbiased", "exchanged")


def test_channels_that_become_positions():
    net, x = taken_apart(features.Transposing()), normal(2, 2, 3)
    names = features.parameter_names(net)
    sizes = {n: net.weights_network.get_parameter(n)[0].numel() for n in names.values()}
    variances = {name: 1 / size for name, size in sizes.items()}
    wanted = features.enumerated_npk(net, x, output=0, variances=variances)
    assert torch.allclose(npk(net, x), wanted, rtol=1e-12)


def test_rate():
    measurement, seconds = measured()["features"]
    assert tried("feature-slope", {"features": (measurement, seconds)}).holds
    for power in (-0.5, 0.5):
        wrong = tuple(
            Sample(s.size, s.expected + (s.estimates - s.expected) * s.size**power, s.expected)
            for s in measurement.samples
        )
        assert not tried(
            "feature-slope", {"features": (replace(measurement, samples=wrong), seconds)}
        ).holds


def test_standard_errors_of_draws():
    """32 equal features a draw tell no more than one."""
    one = torch.randn(3, 500).double() / 500**0.5
    repeated = one.repeat_interleave(32, 1) / 32**0.5
    exact = torch.eye(3).double()
    alone, shared = (
        features._mean_pair(values, exact, per_draw, "")
        for values, per_draw in ((one, 1), (repeated, 32))
    )
    torch.testing.assert_close(alone.left, shared.left)
    torch.testing.assert_close(alone.left, one @ one.T)
    torch.testing.assert_close(alone.standard_error, shared.standard_error)
