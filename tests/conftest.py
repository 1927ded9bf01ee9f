"""Settings that every test shares."""

import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

# What tests write is forced to disk, file by file; in memory, where there is room, that is free.
MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4e9:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

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


ONE_PROCESS = (
    "tests.experiments.theory.checking",
    "tests.experiments.reproduced",
    "tests.explorer.explanations.cases",
    "tests.tabular.comparing.small_tables",
    "tests.bad_calls",
    "tests.test_house",
    "tests.path_kernel.fast",  # compiles what others then find
    "tests.processes",  # starts a server that imports everything
)
"""Modules, or folders of them, of what takes long to make; tests that use one run where it is."""


def pytest_itemcollected(item):
    """Tests that share what takes long to make run in one process, so that it is made once."""
    if item.get_closest_marker("xdist_group") is None and (group := _shared(item)):
        item.add_marker(pytest.mark.xdist_group(group))


def _shared(item):
    """The module of what the test shares with others, or where a fixture of several tests is."""
    names = vars(getattr(item, "module", object)).values()
    used = {str(getattr(value, "__module__", "")) for value in names}
    places = {
        fixture.baseid
        for found in item._fixtureinfo.name2fixturedefs.values()
        for fixture in found
        if fixture.scope != "function" and fixture.baseid  # pytest's own have none
    }
    shared = (name for name in ONE_PROCESS if any(f"{one}.".startswith(f"{name}.") for one in used))
    return next(shared, min(places, default=""))


def pytest_collection_finish():
    """What is imported and collected stays: Python need not look for garbage in it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded():
    """Each test starts from the same random state, whatever ran before."""
    torch.default_generator.manual_seed(0)
