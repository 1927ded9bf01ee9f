"""Settings that every test shares."""

import os
import signal

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "dualview",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("dualview")
# Started in the background, a process ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


ONE_PROCESS = ("tests.experiments.theory.checking", "tests.experiments.reproduced")
"""Modules of what takes long to make; the tests that use one run where it is made."""


def pytest_itemcollected(item):
    """Tests that share what takes long to make run in one process, so that it is made once."""
    names = vars(getattr(item, "module", object)).values()
    used = {getattr(value, "__module__", None) for value in names}
    for module in used.intersection(ONE_PROCESS):
        item.add_marker(pytest.mark.xdist_group(module))


@pytest.fixture(autouse=True)
def _seeded():
    """Each test starts from the same random state, whatever ran before."""
    torch.manual_seed(0)
