"""What is planned and measured: networks of both kinds, explanations of each tried.

DeepLIFT is tried on the ReLU network alone, which is the model itself.
"""

from __future__ import annotations

from dualview.experiments.experiment import Machine, Request
from dualview.experiments.explanations import plan as module
from dualview.experiments.explanations.plan import plan
from dualview.experiments.explanations.tables import tables
from dualview.experiments.running import run_jobs
from tests.experiments.reproduced import few_digits

DATA = few_digits(40)
REQUEST = Request(epochs=1, width=4, arch="fc", machine=Machine(accelerator="cpu", threads=1))


def test_what_is_planned(tmp_path):
    jobs = plan(Request(width=4, machine=REQUEST.machine), DATA, tmp_path)
    assert [(job.config["arch"], job.seed, job.kind) for job in jobs] == [
        (arch, 0, kind) for arch in ("fc", "c4gap") for kind in ("dnn", "dlgn")
    ]
    some = plan(Request(width=4, seeds=2, arch="fc", kinds=("dgn",)), DATA, tmp_path)
    assert [(job.kind, job.seed) for job in some] == [("dgn", 0), ("dgn", 1)]


def test_records_tell_what_was_found(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EXAMPLES", 2)
    for record in run_jobs(plan(REQUEST, DATA, tmp_path), tmp_path):
        found = record.measurements
        assert found["examples"] == record.config["examples"] == 2
        assert ("deeplift" in found["methods"]) is (record.kind == "dnn")
        assert tables([record])[0].rows
