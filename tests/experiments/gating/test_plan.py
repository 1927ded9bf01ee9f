"""What is planned: one change at a time; that it is trained, `test_registry` shows.

1. Runs differ from the plain DLGN's in what their change names, and in nothing else.
2. What would change nothing is left out: of a recipe without weight decay, of networks without
   max pools.
3. Average pools in the place of max pools: of the same windows.
4. Large data are cut, and those runs are short.
"""

from unittest import mock

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dualview.experiments.experiment import Machine, Request
from dualview.experiments.gating import plan as module
from dualview.experiments.gating.changes import BASE, CHANGES
from dualview.experiments.gating.plan import average_pooled, plan
from tests.experiments.reproduced import few_digits

REQUEST = Request(width=2, seeds=1, machine=Machine("cpu", threads=1))
DATA = few_digits(20)


@pytest.fixture(scope="module")
def large_jobs(tmp_path_factory):
    with (
        mock.patch.object(module, "is_small", return_value=False),
        mock.patch("dualview.experiments.experiment.is_small", return_value=False),
        mock.patch.dict(module.EXAMPLES_AT_MOST, {"train": 15}),
    ):
        return plan(REQUEST, DATA, tmp_path_factory.mktemp("gating"))


def test_one_change_at_a_time(large_jobs):
    assert [job.kind for job in large_jobs] == list(CHANGES)
    base = next(job.config for job in large_jobs if job.kind == BASE)
    for job in large_jobs:
        change, told = CHANGES[job.kind], job.config
        wanted = {"kind": job.kind, **change.network, **change.training}
        wanted |= {name: factor * base[name] for name, factor in change.times.items()}
        if change.kind == "dnn":
            wanted |= {"beta": None, "max_pool": None}
        assert told == base | wanted


def test_large_data_are_cut_and_runs_short(large_jobs):
    assert {job.config["n_train"] for job in large_jobs} == {15}
    assert {job.config["epochs"] for job in large_jobs} == {module.LARGE_EPOCHS}


def test_what_changes_nothing_is_left_out(tmp_path):
    kinds = ("dnn-average", BASE, "dlgn-switch", "dlgn-decay", "dlgn-beta1")
    of_dense = Request(arch="fc", kinds=kinds, width=2, seeds=1)
    jobs = plan(of_dense, DATA, tmp_path)
    assert [job.kind for job in jobs] == [BASE, "dlgn-beta1"]


def test_average_pools():
    layers = (nn.Conv2d(1, 2, 3), nn.MaxPool2d(3, 2, padding=1), nn.AdaptiveMaxPool2d(2))
    model, x = nn.Sequential(*layers), torch.randn(3, 1, 9, 9)
    wanted = F.adaptive_avg_pool2d(F.avg_pool2d(layers[0](x), 3, 2, 1), 2)
    assert torch.equal(average_pooled(model)(x), wanted)
