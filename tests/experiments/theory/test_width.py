"""Properties proved here: a wrong expected NTK, or a wrong rate, is found.

1. An expected NTK of the wrong size is not the mean over draws, at any width.
2. Deviations that do not fall, or fall as 1 / width, do not have the slope -1/2.
3. Quick measurements take fewer widths and draws; all draws of a width are of several networks.
"""

from dataclasses import replace

import pytest
import torch

from dualview.experiments.theory import width
from dualview.experiments.theory.measurement import Sample
from tests.experiments.theory.checking import measured, tried

FAMILIES = {"dense": width.DENSE, "convolutional": width.CONVOLUTIONAL}


def changed(name, estimates=lambda e, k, size: e, expected=lambda e, k, size: k):
    measurement, seconds = measured()[name]
    samples = tuple(
        Sample(
            s.size,
            estimates(s.estimates, s.expected, s.size),
            expected(s.estimates, s.expected, s.size),
        )
        for s in measurement.samples
    )
    return {name: (replace(measurement, samples=samples), seconds)}


@pytest.mark.parametrize("name", FAMILIES)
def test_as_measured(name):
    for statement in (f"{name}-mean", f"{name}-slope"):
        assert tried(statement, measured()).holds


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("factor", [2 / 3, 4 / 3])
def test_wrong_expectation(name, factor):
    """The factors d - 1 and d + 1 in place of d = 3."""
    wrong = changed(name, expected=lambda e, k, size: k * factor)
    assert not tried(f"{name}-mean", wrong).holds


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("power", [-0.5, 0.5], ids=["as 1 / width", "not at all"])
def test_wrong_rate(name, power):
    wrong = changed(name, estimates=lambda e, k, size: k + (e - k) * size**power)
    assert not tried(f"{name}-slope", wrong).holds


@pytest.mark.parametrize("name", FAMILIES)
def test_sizes(name):
    family, (measurement, _) = FAMILIES[name], measured()[name]
    assert [sample.size for sample in measurement.samples] == list(family.quick_draws)
    for sample in measurement.samples:
        assert len(sample.estimates) == family.quick_draws[sample.size] <= family.draws[sample.size]
        kernels = torch.unique(sample.expected, dim=0)
        assert len(kernels) == width.NETWORKS
        assert len(sample.estimates) % width.NETWORKS == 0


def test_all_draws_differ():
    estimates = measured()["dense"][0].samples[0].estimates
    assert len(torch.unique(estimates, dim=0)) == len(estimates)


def test_full_size_reaches_wide_networks():
    assert list(width.DENSE.draws) == [8, 16, 32, 64, 128, 256, 512]
    assert list(width.CONVOLUTIONAL.draws) == [8, 16, 32, 64, 128, 256]
    for family in FAMILIES.values():
        assert sum(size >= width.FIT_FROM for size in family.quick_draws) >= 3
