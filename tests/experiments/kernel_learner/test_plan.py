"""What is planned; that it is measured, `test_registry` shows with every experiment."""

from dualview.experiments.experiment import Machine, Request
from dualview.experiments.kernel_learner.plan import plan
from dualview.experiments.kernel_learner.tables import DRAWN, LEARNT
from tests.experiments.reproduced import few_digits

REQUEST = Request(width=4, seeds=1, machine=Machine("cpu", threads=1))


def test_networks(tmp_path):
    jobs = plan(REQUEST, few_digits(20), tmp_path)
    assert [(job.config["arch"], job.kind) for job in jobs] == [
        (arch, kind) for arch in ("fc", "c4gap") for kind in (LEARNT, DRAWN)
    ]
    learnt, drawn = jobs[:2]
    assert learnt.config | {"kind": DRAWN} == drawn.config  # gates aside, the same training
