"""Properties proved here.

1. Data comes from the request, else from the experiment's default, else, where the experiment needs
   none, is None; data that is handed over wins.
2. What was done is noted once all is done, and not before.
3. A machine that is not there, and options that the experiment lacks, are refused before any folder
   is made.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dualview.experiments.experiment import Experiment, Machine, Request
from dualview.experiments.jobs import Job
from dualview.experiments.reproduction import DONE, reproduce
from dualview.experiments.selection import Sharing
from dualview.experiments.settings import DataSettings
from dualview.training import SettingsError
from tests.record_cases import run_record
from tests.training.tiny import tiny_data


def _experiment(seen, perform=lambda folder, watcher: run_record()):
    def plan(request, data, out):
        seen.append(data)
        config = {"experiment": "trial"}
        return [Job("dnn", 0, out / "one", config, 1.0, "one", perform)]

    said = ("A trial", "Does it run?", "nowhere", "seconds")
    return Experiment("trial", *said, "digits", plan, lambda records: [])


def _done(out):
    return json.loads((out / DONE).read_text())


def test_which_data(tmp_path):
    seen = []
    experiment = _experiment(seen)
    reproduce(experiment, Request(), tmp_path / "a")
    assert seen[-1].description == "digits"
    asked = Request(data=DataSettings("digits", test=0.5))
    reproduce(experiment, asked, tmp_path / "b")
    assert len(seen[-1].test) > 800
    reproduce(experiment, asked, tmp_path / "c", data=tiny_data())
    assert _done(tmp_path / "c") == {"experiment": "trial", "data": "stripes", "preset": "cpu"}
    dataless = replace(experiment, needs_data=False)
    reproduce(dataless, Request(preset="paper"), tmp_path / "d")
    assert seen[-1] is None
    assert _done(tmp_path / "d")["preset"] == "paper"
    reproduce(dataless, asked, tmp_path / "e")
    assert seen[-1].description == "digits"


def test_some_of_the_jobs(tmp_path):
    """A part of an experiment, split over machines, can be collected like a whole one."""
    reproduce(_experiment([]), Request(), tmp_path, sharing=Sharing(only=("one",)))
    assert _done(tmp_path) == {"experiment": "trial", "data": "digits", "preset": "cpu"}


def test_not_done(tmp_path):
    def interrupt(folder, watcher):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(_experiment([], interrupt), Request(), tmp_path)
    assert not (tmp_path / DONE).exists()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(machine=Machine("abacus")), "not possible here"),
        (Request(width=3), "--width: trial has no such choice"),
    ],
)
def test_refused(tmp_path, request_, message):
    with pytest.raises(SettingsError, match=message):
        reproduce(_experiment([]), request_, tmp_path / "out")
    assert not (tmp_path / "out").exists()
