"""Properties proved here: a wrong variance is found, of dense layers and of convolutions."""

import pytest

from dualview.experiments.theory import variance
from dualview.path_kernel.concentration import ntk_variance
from tests.experiments.theory.checking import all_fail

NAMES = [statement.name for statement in variance.STATEMENTS]


@pytest.mark.parametrize("dims", [2, 3], ids=["dense", "convolutions"])
def test_wrong_variance(monkeypatch, dims):
    """One of the networks alone is wrong, by the fourth moment of uniform weights."""

    def wrong(net, x, **options):
        uniform = {**options, "kurtosis": 9 / 5}
        return ntk_variance(net, x, **(uniform if x.dim() == dims else options))

    monkeypatch.setattr(variance, "ntk_variance", wrong)
    assert all_fail("variance-signs")


def test_half_the_variance(monkeypatch):
    monkeypatch.setattr(variance, "ntk_variance", lambda *a, **o: ntk_variance(*a, **o) / 2)
    assert all_fail(*NAMES)
