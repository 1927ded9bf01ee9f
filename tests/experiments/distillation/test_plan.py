"""Properties proved here.

1. A teacher and the routes asked for, seed by seed; the teacher is always there; half the epochs
   for one of them.
2. Every learner starts from the teacher of its seed; its record tells accuracy before, soft and
   hard, of which the last epoch's is the soft one.
3. Where the teacher diverged, nothing is learnt, and it is said.
"""

from __future__ import annotations

import pytest

from dualview.experiments.distillation.plan import TEACHING, plan
from dualview.experiments.distillation.tables import ROUTES, TEACHER
from dualview.experiments.experiment import Machine, Request
from dualview.experiments.running import run_jobs
from dualview.training import MODEL
from tests.experiments.reproduced import few_digits

DATA = few_digits(40)
REQUEST = Request(
    seeds=1, epochs=2, width=4, arch="fc", machine=Machine(accelerator="cpu", threads=1)
)


def test_what_is_planned(tmp_path):
    jobs = plan(Request(width=4, seeds=2, machine=REQUEST.machine), DATA, tmp_path)
    each = [TEACHER, *ROUTES]
    assert [(job.config["arch"], job.seed, job.kind) for job in jobs] == [
        (arch, seed, kind) for arch in ("fc", "c4gap") for seed in (0, 1) for kind in each
    ]
    assert len({job.folder for job in jobs}) == len(jobs)
    epochs = {job.kind: job.config["epochs"] for job in jobs[:5]}
    assert epochs["dlgn-distilled"] == 2 * epochs["dlgn-distilled-half"] == epochs["dnn"]
    some = plan(Request(width=4, seeds=1, arch="fc", kinds=("dlgn-copied",)), DATA, tmp_path)
    assert [job.kind for job in some] == [TEACHER, "dlgn-copied"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distillation")
    return {record.kind: record for record in run_jobs(plan(REQUEST, DATA, folder), folder)}


@pytest.mark.parametrize("route", list(ROUTES))
def test_what_records_tell(done, route):
    record = done[route]
    assert record.status == "finished"
    assert record.measurements["soft"] == record.test_accuracy
    assert 0 <= record.measurements["hard"] <= 1
    if route in TEACHING:
        assert record.measurements["teacher"] == done[TEACHER].test_accuracy
        assert record.config["share"] == TEACHING[route][0].share
    else:
        assert "before" not in record.measurements
    befores = {done[name].measurements["before"] for name in TEACHING}
    assert len(befores) == 1


def test_no_teacher(tmp_path):
    teacher, *others = plan(REQUEST, DATA, tmp_path)
    (job,) = (job for job in others if job.kind == "dlgn-distilled")
    assert not (teacher.folder / MODEL).exists()
    (record,) = run_jobs([job], tmp_path)
    assert record.status == "diverged"
    assert record.message == "fc-dnn-seed0 left no network to learn from"
