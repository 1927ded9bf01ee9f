"""Properties proved here, for every experiment.

1. Names are those of commands, and unique; title, question, source and duration say something; the
   default data, options and preset are known ones.
2. At a tiny size it runs on the digits; every record tells of the experiment, has a config with
   what records need, and finishes.
3. Its tables have rows, names that files can have, and unique names; they are the same for records
   in another order and for records read back from JSON.
4. Done again in the same folder, nothing is trained; with another number of epochs it is refused.
5. Options that it does not understand are refused.
6. The paper preset is planned for colour images of CIFAR's size without training anything.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import pytest
import torch

from dualview.datasets import Dataset, Split
from dualview.errors import RunError
from dualview.experiments.experiment import Request, check_options
from dualview.experiments.jobs import Silent
from dualview.experiments.records import load_record, save_record
from dualview.experiments.registry import EXPERIMENTS
from dualview.experiments.tables import to_csv, to_markdown, to_text
from dualview.training import SettingsError
from tests.experiments.reproduced import tiny_folder, tiny_records, tiny_reproduce, tiny_request

NAMES = list(EXPERIMENTS)
OPTIONS = ("arch", "width", "optimizer", "kinds")
IGNORE_ONES = pytest.mark.filterwarnings("ignore::dualview.errors.DualviewWarning")


@pytest.mark.parametrize("name", NAMES)
def test_what_it_says_of_itself(name):
    experiment = EXPERIMENTS[name]
    assert experiment.name == name
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
    assert "?" in experiment.question
    assert "arXiv" in experiment.source
    assert "minute" in experiment.duration
    assert "TODO" not in experiment.duration
    assert experiment.title
    assert experiment.default_data == "digits"
    assert set(experiment.options) <= set(OPTIONS)


@pytest.mark.parametrize("name", NAMES)
def test_tiny_run(name):
    records = tiny_records(name)
    assert records
    for record in records:
        assert record.experiment == name
        assert record.status == "finished"
        assert json.loads(json.dumps(asdict(record))) is not None
        for key in ("data", "arch", "width", "epochs"):
            assert key in record.config


@pytest.mark.parametrize("name", NAMES)
def test_tables(name, tmp_path):
    records = tiny_records(name)
    tables = EXPERIMENTS[name].tables(records)
    assert tables
    assert len({table.name for table in tables}) == len(tables)
    for table in tables:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", table.name)
        assert table.rows
        assert to_text(table)
        assert to_markdown(table)
        assert to_csv(table)
    for number, record in enumerate(records):
        save_record(record, tmp_path / f"{number}.json")
    read = [load_record(path) for path in tmp_path.glob("*.json")]
    assert EXPERIMENTS[name].tables(read[::-1]) == tables


class _Counts(Silent):
    def __init__(self):
        self.trained, self.kept = 0, 0

    def skipped(self, job, record):
        self.kept += 1

    def done(self, job, record):
        self.trained += 1


@pytest.mark.parametrize("name", NAMES)
def test_done_again(name):
    folder, counts = tiny_folder(name), _Counts()
    records = tiny_reproduce(name, folder, progress=counts)
    assert tuple(records) == tiny_records(name)
    assert (counts.trained, counts.kept) == (0, len(records))
    with pytest.raises(RunError, match="epochs was 1, is now 2"):
        tiny_reproduce(name, folder, epochs=2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("option", OPTIONS)
def test_foreign_options(name, option):
    experiment = EXPERIMENTS[name]
    value = {"arch": "c4gap", "width": 4, "optimizer": "adam", "kinds": ("dnn",)}[option]
    request = Request(**{option: value})
    if option in experiment.options:
        check_options(experiment, request)
    else:
        with pytest.raises(SettingsError, match=f"--{option}: {name} has no such choice"):
            check_options(experiment, request)


def _cifar_like(n: int = 1100) -> Dataset:
    """Noise in CIFAR-10's shapes; classes named by their digits."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, 32, 32), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.arange(n) % 10)
    names = tuple(str(label) for label in range(10))
    return Dataset(split, split, split, names, (0.5,) * 3, (0.25,) * 3, "noise")


@IGNORE_ONES
@pytest.mark.parametrize("name", NAMES)
def test_paper_preset_is_planned(name, tmp_path):
    request = tiny_request(EXPERIMENTS[name], preset="paper", seeds=None, epochs=None)
    jobs = EXPERIMENTS[name].plan(request, _cifar_like(), tmp_path / "out")
    assert jobs
    assert len({job.folder for job in jobs}) == len(jobs)
    assert all(job.folder.parent == tmp_path / "out" for job in jobs)
    assert all(job.cost > 0 for job in jobs)
    assert not (tmp_path / "out").exists()
