"""Properties:
- the paper preset has the published stages, epochs and rate; stages take an eighth of the epochs;
- jobs come seed by seed and stage by stage, stage 0 without training of gates;
- wrong architectures are refused.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dualview.datasets import Dataset, load
from dualview.experiments.experiment import Machine, Request
from dualview.experiments.gate_learning import EXPERIMENT
from dualview.experiments.gate_learning.plan import PAPER_PRESET, plan
from dualview.experiments.gate_learning.tables import tables
from dualview.training import SettingsError

CPU = Machine(accelerator="cpu", threads=1)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def test_paper_preset_is_the_papers(tmp_path: Path, digits: Dataset) -> None:
    jobs = plan(Request(preset="paper", seeds=1, machine=CPU), digits, tmp_path)
    for job in jobs:
        config = job.config
        epochs = 10 * config["stage"] if job.kind == "gates" else 80
        assert (config["epochs"], config["learning_rate"]) == (epochs, 3e-4)
        assert (config["batch_size"], config["schedule"]) == (32, "constant")
        assert (config["arch"], config["width"], config["normalised"]) == ("gconv", 64, False)
        assert (config["optimizer"], config["n_validation"]) == ("adam", 0)
    assert PAPER_PRESET.stages == 6


def test_order_of_the_jobs(tmp_path: Path, digits: Dataset) -> None:
    request = Request(seeds=2, epochs=16, arch="fc", width=5, machine=CPU)
    jobs = plan(request, digits, tmp_path)
    stages = [("weights", 0)]
    for stage in range(1, 7):
        stages += [("gates", stage), ("weights", stage)]
    expected = [(seed, *stage) for seed in range(2) for stage in stages]
    assert [(job.seed, job.kind, job.config["stage"]) for job in jobs] == expected
    assert [job.config["epochs"] for job in jobs if job.kind == "gates"][:6] == [2, 4, 6, 8, 10, 12]
    assert len({job.folder for job in jobs}) == len(jobs)
    assert {job.config["width"] for job in jobs} == {5}


def test_a_stage_has_an_epoch_at_least(tmp_path: Path, digits: Dataset) -> None:
    jobs = plan(Request(seeds=1, epochs=1, machine=CPU), digits, tmp_path)
    assert [job.config["epochs"] for job in jobs if job.kind == "gates"] == [1, 2, 3, 4, 5, 6]


def test_other_architectures_are_refused(tmp_path: Path, digits: Dataset) -> None:
    with pytest.raises(SettingsError, match="arch: expected one of fc, vconv, gconv"):
        plan(Request(arch="resnet20", machine=CPU), digits, tmp_path)
    assert EXPERIMENT.tables is tables
