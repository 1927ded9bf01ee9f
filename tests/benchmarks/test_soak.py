"""The soak.

- A few runs leave no file descriptor, thread or temporary file; those that a run leaves are seen.
- The claim fails of one more of anything, and of memory that grows faster than it says.
"""

from __future__ import annotations

import tempfile
import threading
from dataclasses import astuple, replace
from pathlib import Path

import pytest

from benchmarks import soak
from benchmarks.soak import GROWTH, Count, holds

COUNT = Count(resident=2**29, descriptors=11, threads=10, files=1)


def test_a_few_runs_leave_nothing():
    before, after = soak.soak(runs=2, warm_up=1)
    assert astuple(after)[1:] == astuple(before)[1:]


def test_what_is_left_is_seen(tmp_path, monkeypatch):
    kept, end = [], threading.Event()

    def leaves(data):
        kept.append(Path(tempfile.mkdtemp(), "open").open("w"))  # noqa: SIM115  it is to be left open
        thread = threading.Thread(target=end.wait)
        thread.start()
        kept.append(thread)

    monkeypatch.setattr(soak, "short_run", leaves)
    try:
        before, after = soak.soak(runs=3, warm_up=1)
    finally:
        end.set()
        for left in kept:
            left.join() if isinstance(left, threading.Thread) else left.close()
    assert after.descriptors - before.descriptors == 3
    assert after.threads - before.threads == 3
    assert after.files - before.files == 6


@pytest.mark.parametrize("name", ["descriptors", "threads", "files"])
def test_one_more_fails_the_claim(name):
    assert holds(COUNT, COUNT, 5)
    assert not holds(COUNT, replace(COUNT, **{name: getattr(COUNT, name) + 1}), 5)


def test_memory_may_grow_a_little():
    assert holds(COUNT, replace(COUNT, resident=COUNT.resident + 5 * GROWTH), 5)
    assert not holds(COUNT, replace(COUNT, resident=COUNT.resident + 5 * GROWTH + 1), 5)
