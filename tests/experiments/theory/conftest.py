"""Measurements that several test files look at, taken once."""

import pytest

from dualview.experiments.theory.run import MEASUREMENTS, take
from tests.experiments.theory.checking import QUICK


@pytest.fixture(scope="session")
def measured():
    """Name -> measurement and its seconds, as `check` takes them."""
    return {series.name: take(series, QUICK) for series in MEASUREMENTS}
