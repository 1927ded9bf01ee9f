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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests that share what takes long to make run in one process, so that it is made once."""
    for item in items:
        if "measured" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("measured"))
        elif {"tiny_records", "tiny_folder"} & set(dir(getattr(item, "module", None))):
            item.add_marker(pytest.mark.xdist_group("reproduced"))


@pytest.fixture(autouse=True)
def _seeded():
    """Each test starts from the same random state, whatever ran before."""
    torch.manual_seed(0)
