"""The soak.

- A few runs leave no file descriptor or temporary file; those that a run leaves are seen.
- The claim fails of one more of anything, and of memory that grows faster than it says.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import soak
from benchmarks.soak import GROWTH, Count, holds
from tests.processes import start

COUNT = Count(resident=2**29, descriptors=11, threads=10, files=1)


def added(runs):
    """Descriptors and files that are added; pools of threads are still filling in so few runs."""
    before, after = soak.soak(runs, warm_up=2)
    print(before, after)
    return after.descriptors - before.descriptors, after.files - before.files


def leave_nothing():
    return added(2) != (0, 0)


def leave_some():
    kept, own = [], soak.short_run

    def leaves(data):
        own(data)
        kept.append(Path(tempfile.mkdtemp(), "open").open("w"))  # noqa: SIM115  it is to be left open

    soak.short_run = leaves
    return added(2) != (2, 4)


@pytest.mark.parametrize("runs", [leave_nothing, leave_some])
def test_what_is_left_is_seen(runs, tmp_path):
    """In a process of its own, where no other test opens or closes anything."""
    process = start(runs, log=tmp_path / "log")
    process.join()
    assert process.exitcode == 0, (tmp_path / "log").read_text()


@pytest.mark.parametrize("name", ["descriptors", "threads", "files"])
def test_one_more_fails_the_claim(name):
    assert holds(COUNT, COUNT, 5)
    assert not holds(COUNT, replace(COUNT, **{name: getattr(COUNT, name) + 1}), 5)


def test_memory_may_grow_a_little():
    assert holds(COUNT, replace(COUNT, resident=COUNT.resident + 5 * GROWTH), 5)
    assert not holds(COUNT, replace(COUNT, resident=COUNT.resident + 5 * GROWTH + 1), 5)
