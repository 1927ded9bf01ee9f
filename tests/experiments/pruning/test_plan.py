"""What is planned; that it is measured, `test_registry` shows with every experiment."""

from dualview.experiments.experiment import Machine, Request
from dualview.experiments.pruning.plan import plan
from tests.experiments.reproduced import few_digits


def test_networks(tmp_path):
    request = Request(width=4, seeds=1, machine=Machine("cpu", threads=1))
    jobs = plan(request, few_digits(20), tmp_path)
    assert [(job.config["arch"], job.kind) for job in jobs] == [
        (arch, kind) for arch in ("fc", "c4gap") for kind in ("dnn", "dlgn")
    ]
