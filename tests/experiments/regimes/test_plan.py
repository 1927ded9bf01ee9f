"""Properties:
- recipes have the published rates, epochs, widths and seeds; plain SGD has no momentum;
- the paper preset trains on the whole train split and measures nothing on the validation split;
- grey images get FC, coloured ones convolutions; both optimisers where they are quick;
- what does not fit is refused: architectures, optimisers, regimes;
- the experiment runs end to end, and its tables have the published cells.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dualview.datasets import Dataset, load
from dualview.experiments.experiment import Machine, Request
from dualview.experiments.jobs import Job
from dualview.experiments.published import REGIMES
from dualview.experiments.regimes import EXPERIMENT
from dualview.experiments.regimes.plan import LARGE_PRESET, PAPER_PRESET, SMALL_PRESET, plan
from dualview.experiments.regimes.tables import tables
from dualview.experiments.running import run_jobs
from dualview.experiments.tables import to_text
from dualview.training import SettingsError

CPU = Machine(accelerator="cpu", threads=1)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def jobs(out: Path, data: Dataset, **options: Any) -> list[Job]:
    return plan(Request(machine=CPU, **options), data, out)


PUBLISHED_SETTINGS = {
    ("fc", "adam"): (1e-4, 100, 128),
    ("fc", "sgd"): (1e-2, 300, 128),
    ("vconv", "adam"): (3e-4, 80, 64),
    ("vconv", "sgd"): (1e-2, 80, 64),
    ("gconv", "adam"): (3e-4, 200, 64),
    ("gconv", "sgd"): (1e-1, 100, 64),
}


@pytest.mark.parametrize(("arch", "optimizer"), PUBLISHED_SETTINGS)
def test_paper_preset_is_the_papers(arch: str, optimizer: str) -> None:
    rate, epochs, width = PUBLISHED_SETTINGS[arch, optimizer]
    recipe = PAPER_PRESET[arch]
    training = recipe.training[optimizer]
    assert (training.learning_rate, training.epochs, recipe.width) == (rate, epochs, width)
    assert (training.batch_size, training.schedule, recipe.seeds) == (32, "constant", 5)
    assert (training.momentum, training.weight_decay, training.flip, training.crop) == (0, 0, 0, 0)


@pytest.mark.parametrize("table", [SMALL_PRESET, LARGE_PRESET, PAPER_PRESET])
def test_every_preset_has_every_setting(table: Any) -> None:
    assert {(arch, name) for arch in table for name in table[arch].training} == set(
        PUBLISHED_SETTINGS
    )


def test_paper_preset_trains_on_the_whole_train_split(tmp_path: Path, digits: Dataset) -> None:
    config = jobs(tmp_path, digits, preset="paper", optimizer="adam", seeds=1)[0].config
    assert config["n_train"] == len(digits.train) + len(digits.validation)
    assert (config["n_validation"], config["normalised"]) == (0, False)
    assert jobs(tmp_path, digits)[0].config["n_validation"] == len(digits.validation)


def test_what_is_planned(tmp_path: Path, digits: Dataset) -> None:
    planned = jobs(tmp_path, digits)
    assert len(planned) == 2 * 5 * 5
    assert len({job.folder for job in planned}) == len(planned)
    assert {job.config["arch"] for job in planned} == {"fc"}
    assert {job.config["optimizer"] for job in planned} == {"adam", "sgd"}
    gconv = jobs(tmp_path, digits, arch="gconv", optimizer="sgd", seeds=2, epochs=7, width=3)
    assert [job.kind for job in gconv[:5]] == ["relu", "frnpf-ii", "frnpf-di", "dlnpf", "flnpf"]
    assert [job.seed for job in gconv] == [0] * 5 + [1] * 5
    assert {(job.config["epochs"], job.config["width"]) for job in gconv} == {(7, 3)}


def test_gates_of_flnpf_need_the_relu_network(tmp_path: Path, digits: Dataset) -> None:
    planned = jobs(tmp_path, digits, kinds=("flnpf",), optimizer="adam", seeds=1)
    assert [job.kind for job in planned] == ["relu", "flnpf"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "vgg16"}, "arch: expected one of fc, vconv, gconv"),
        ({"optimizer": "rmsprop"}, "optimizer: expected one of adam, sgd"),
        ({"kinds": ("dlgn",)}, "kinds: expected one of frnpf-ii"),
    ],
)
def test_what_does_not_fit_is_refused(
    options: dict[str, Any], message: str, tmp_path: Path, digits: Dataset
) -> None:
    with pytest.raises(SettingsError, match=message):
        jobs(tmp_path, digits, **options)


def test_end_to_end(tmp_path: Path, digits: Dataset) -> None:
    options = {"preset": "paper", "optimizer": "adam", "seeds": 2, "epochs": 1, "width": 8}
    records = run_jobs(jobs(tmp_path, digits, **options), tmp_path)
    assert {(record.kind, record.seed) for record in records} == {
        (regime, seed) for regime in REGIMES for seed in range(2)
    }
    assert {record.status for record in records} == {"finished"}
    text = "\n".join(to_text(table) for table in tables(records))
    for cell in ("96.02 ± 0.13", "96.09 ± 0.12", "98.22 ± 0.05", "97.82 ± 0.02", "98.14 ± 0.07"):
        assert cell in text
    assert EXPERIMENT.tables is tables
