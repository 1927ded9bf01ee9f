"""Properties proved here.

1. Which architectures are planned by preset and size of the data, or asked for, and of which
   kinds.
2. The widened DNN has the parameters closest to the DLGN's of all widths; its records stand beside
   the narrow DNN's, with its own width in the config.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from dualview.experiments import experiment
from dualview.experiments.architectures import plan as architectures
from dualview.experiments.architectures.plan import plan
from dualview.experiments.architectures.tables import COMPARED_KINDS
from dualview.experiments.experiment import Request
from dualview.experiments.networks import parameters_of_width, width_of_size
from dualview.experiments.recipes import setting
from dualview.experiments.settings import ENLARGED
from dualview.training import SettingsError
from tests.experiments.reproduced import few_digits, tiny_records

DATA = few_digits(20)
IGNORE_ONES = pytest.mark.filterwarnings("ignore::dualview.errors.DualviewWarning")


@IGNORE_ONES
def test_what_is_planned(tmp_path, monkeypatch):
    def planned(**asked):
        jobs = plan(Request(width=2, seeds=1, **asked), DATA, tmp_path)
        assert [job.kind for job in jobs] == list(COMPARED_KINDS) * (
            len(jobs) // len(COMPARED_KINDS)
        )
        assert {job.config.get(ENLARGED) for job in jobs if job.config["arch"] == "vgg16"} <= {2}
        return list(dict.fromkeys(job.config["arch"] for job in jobs))

    assert planned() == ["c4gap", "vgg16", "resnet20"]
    assert planned(arch="resnet20") == ["resnet20"]
    monkeypatch.setattr(experiment, "is_small", lambda data: False)
    assert planned() == ["c4gap"]
    monkeypatch.setattr(architectures, "IN_PAPER", ("c4gap", "resnet20"))
    assert planned(preset="paper") == ["c4gap", "resnet20"]


def test_unknown_choices(tmp_path):
    with pytest.raises(SettingsError, match="did you mean 'resnet20'"):
        plan(Request(arch="resnet21"), DATA, tmp_path)
    with pytest.raises(SettingsError, match="did you mean 'dnn-wide'"):
        plan(Request(kinds=("dnn-wid",)), DATA, tmp_path)


def test_without_a_dlgn_there_are_dnn_and_dgn(tmp_path):
    jobs = plan(Request(width=4, seeds=2, arch="vit"), DATA, tmp_path)
    assert [(job.kind, job.seed) for job in jobs] == [
        ("dnn", 0),
        ("dgn", 0),
        ("dnn", 1),
        ("dgn", 1),
    ]
    assert jobs[0].config["arch"] == "vit"


def test_some_kinds_seed_by_seed(tmp_path):
    jobs = plan(Request(width=2, seeds=2, kinds=("dlgn", "dnn")), DATA, tmp_path)
    assert [job.seed for job in jobs] == [0] * 6 + [1] * 6
    assert {job.kind for job in jobs} == {"dnn", "dlgn"}


@pytest.mark.parametrize("arch", ["fc", "c4gap", "resnet20"])
def test_the_closest_width(arch):
    one = setting("trial", arch, Request(), DATA)
    settings = replace(one.comparison, batch_norm=None)
    sizes = {width: parameters_of_width(settings, one.data, width) for width in range(1, 80)}
    for size in (1, 500, 12_345, 30_000):
        found = width_of_size(settings, one.data, size)
        distance = {width: abs(of_width - size) for width, of_width in sizes.items()}
        assert distance[found] == min(distance.values())


def test_the_wide_network_is_as_large_as_the_dlgn():
    narrow, wide, dlgn = (
        next(record for record in tiny_records("architectures") if record.kind == kind)
        for kind in ("dnn", "dnn-wide", "dlgn")
    )
    assert narrow.width == wide.width == 4
    assert wide.config["own_width"] > 4
    assert narrow.parameters < wide.parameters
    assert 2 / 3 < wide.parameters / dlgn.parameters < 3 / 2  # widths are few at this size
