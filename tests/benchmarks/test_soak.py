"""The soak.

- A few runs leave no file descriptor or temporary file; those that a test leaves are seen.
- The claim fails of one more of anything than it allows.
"""

from __future__ import annotations

import tempfile
from dataclasses import fields, replace
from pathlib import Path

import pytest

from benchmarks import soak
from benchmarks.soak import GROWTH, NAMES, Count, compared
from tests.processes import start

COUNT = Count(memory=512.0, objects=10**6, descriptors=11, threads=10, files=1)


def leave_some():
    """Descriptors and files are counted; pools of threads are still filling in so few runs."""
    kept, own = [], soak.short_run

    def leaves(data):
        own(data)
        kept.append(Path(tempfile.mkdtemp(), "open").open("w"))  # noqa: SIM115  it is to be left open

    soak.short_run = leaves
    before, after = soak.soak(2, warm_up=1)
    print(before, after)
    return (after.descriptors - before.descriptors, after.files - before.files) != (2, 4)


def test_what_is_left_is_seen_and_nothing_else_is(tmp_path):
    """In a process of its own, where no other test opens or closes anything."""
    process = start(leave_some, log=tmp_path / "log")
    process.join()
    assert process.exitcode == 0, (tmp_path / "log").read_text()


def hold(after):
    return all(m.holds for m in compared(COUNT, after, runs=5))


ALLOWED = {"memory": GROWTH, "objects": 4, "descriptors": 0, "threads": 0, "files": 0}


@pytest.mark.parametrize("name", NAMES)
def test_more_than_allowed_fails_the_claim(name):
    allowed = getattr(COUNT, name) + ALLOWED[name]
    assert hold(replace(COUNT, **{name: allowed}))
    assert not hold(replace(COUNT, **{name: allowed + 1}))


def test_every_count_is_compared():
    assert {field.name for field in fields(Count)} == set(NAMES)
