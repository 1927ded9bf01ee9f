"""Networks on halves first, each from a seed of its own; the whole is scored by them."""

import numpy as np
import pytest

from dualview.experiments.datamodels import plan as module
from dualview.experiments.datamodels.plan import plan
from dualview.experiments.datamodels.subsets import members
from dualview.experiments.experiment import Machine, Request
from dualview.experiments.running import run_jobs
from tests.experiments.reproduced import few_digits

DATA = few_digits(40)
REQUEST = Request(epochs=1, width=4, machine=Machine(accelerator="cpu", threads=1))


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(module, "SUBSETS", 3)
    monkeypatch.setattr(module, "TARGETS", 5)


@pytest.mark.usefixtures("few")
def test_halves_and_the_whole(tmp_path):
    jobs = plan(REQUEST, DATA, tmp_path)
    assert [(job.folder.name, job.seed) for job in jobs] == [
        *((f"fc-dlgn-subset{k}-seed{k}", k) for k in range(3)),
        ("fc-dlgn-seed0", 0),
    ]
    assert [job.config["n_train"] for job in jobs] == [20, 20, 20, 40]
    assert [len(job.needs) for job in jobs] == [0, 0, 0, 3]
    *halves, whole = run_jobs(jobs, tmp_path)
    assert [len(record.measurements["margins"]) for record in halves] == [5, 5, 5]
    found = whole.measurements
    assert (found["targets"], found["subsets"]) == (5, 3)
    assert {"kernel machine", "gradient similarity", "same class"} <= set(found["methods"])
    assert all(-1 <= score <= 1 for score in found["score"])
    assert np.isfinite(found["score_error"]).all()


def test_the_first_of_many(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "SUBSETS", 1)
    monkeypatch.setattr(module, "MOST_TRAINING", 7)
    half, whole = plan(REQUEST, DATA, tmp_path)
    assert (half.config["n_train"], whole.config["n_train"]) == (len(members(7, 0)), 7) == (4, 7)
