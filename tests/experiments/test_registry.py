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
7. No folder of one is imported
   by another, nor by the engine, so that it can be taken away.
8. An experiment of a user's own is found in a file or a module, under any name; what is none,
   cannot be imported, or bears a listed name is refused. Its jobs say whose they are.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

import grimp
import pytest
import torch

from dualview.datasets import Dataset, Split
from dualview.errors import RunError
from dualview.experiments.collected import slug
from dualview.experiments.experiment import Request, check_options
from dualview.experiments.jobs import Silent
from dualview.experiments.records import load_record, save_record
from dualview.experiments.registry import EXPERIMENTS, FOLDERS, find
from dualview.experiments.reproduction import reproduce
from dualview.experiments.tables import to_csv, to_markdown, to_text
from dualview.training import SettingsError
from tests.experiments.reproduced import (
    smaller,
    tiny_folder,
    tiny_records,
    tiny_reproduce,
    tiny_request,
)

NAMES = list(EXPERIMENTS)
OPTIONS = ("arch", "width", "optimizer", "kinds")
IGNORE_ONES = pytest.mark.filterwarnings("ignore::dualview.errors.DualviewWarning")


@pytest.mark.parametrize("name", NAMES)
def test_stated_times_are_those_of_the_records(name):
    stated = re.findall(r"([^;:(]+?)(?: \(\w+\))?: ([\d.]+) minutes?", EXPERIMENTS[name].duration)
    assert len(stated) == EXPERIMENTS[name].duration.count(":")
    kept = Path(__file__).parents[2] / "results" / name
    for data, minutes in stated:
        folders = [kept / slug(data), kept / f"{slug(data)}-jpeg-re-encoding"]
        totals = [
            sum(_seconds(json.loads(path.read_text())) for path in folder.glob("*.json")) / 60
            for folder in folders
        ]
        assert any(total == pytest.approx(float(minutes), rel=0.15) for total in totals), data


def _seconds(record):
    """Of training, and of a trial where the experiment says how long that took."""
    return record["seconds"] + record["measurements"].get("trial_seconds", 0)


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
    request = tiny_request(EXPERIMENTS[name], preset="paper", seeds=None, epochs=None, arch=None)
    with smaller():  # the tables of a package that is not here
        jobs = EXPERIMENTS[name].plan(request, _cifar_like(), tmp_path / "out")
    assert jobs
    assert len({job.folder for job in jobs}) == len(jobs)
    assert all(job.folder.parent == tmp_path / "out" for job in jobs)
    assert all(job.cost > 0 for job in jobs)
    assert not (tmp_path / "out").exists()


def test_no_experiment_needs_another():
    graph = grimp.build_graph("dualview", cache_dir=None)
    engine = "dualview.experiments."
    for folder in (*FOLDERS, "theory"):
        package = f"{engine}{folder}"
        inside = {package, *graph.find_descendants(package)}
        assert len(inside) > 2
        importers = {
            by for module in inside for by in graph.find_modules_that_directly_import(module)
        }
        needed = {by for by in importers - inside if by.startswith(engine)}
        assert needed <= ({f"{engine}results_page"} if folder == "theory" else set())


OWN = """
from dataclasses import replace
from dualview.experiments.registry import EXPERIMENTS
from words import TITLE
EXPERIMENT = replace(EXPERIMENTS["shallow"], name="mine", title=TITLE)
OTHER = replace(EXPERIMENT, name="other")
TAKEN = EXPERIMENTS["shallow"]
NONE = "shallow"
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A file with experiments, beside a file that it imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("mine", "words"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "words.py").write_text("TITLE = 'My own'")
    return tmp_path / "mine.py"


@pytest.mark.parametrize(
    ("where", "name"),
    [("mine.py", "mine"), ("mine.py:OTHER", "other"), ("mine:EXPERIMENT", "mine")],
)
def test_own_experiments(own, where, name):
    assert (find(where).name, find(where).title) == (name, "My own")
    assert find(where.replace("mine.py", str(own))).name == name


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("mine.py:NONE", r"^mine.py: expected NONE to be a .*Experiment, got str"),
        ("mine.py:NOTHING", "got no such name"),
        ("mine.py:TAKEN", "that no experiment of this package has, got 'shallow'"),
        ("gone.py", "^gone.py: expected a Python file or module .* got FileNotFoundError"),
        ("gone:NAME", "got ModuleNotFoundError"),
        ("broken.py", r"^broken.py: .* got ZeroDivisionError: division by zero"),
        ("shalow", "did you mean 'shallow'"),
    ],
)
def test_no_experiment(own, where, message):
    own.with_name("broken.py").write_text("1 / 0")
    with pytest.raises(SettingsError, match=message):
        find(where)


def test_jobs_say_whose_they_are(tmp_path):
    mine = replace(EXPERIMENTS["shallow"], name="mine")
    with pytest.raises(SettingsError, match="experiment='mine', got 'shallow' of fc-dnn-seed0"):
        reproduce(mine, tiny_request(mine, arch="fc"), tmp_path)
