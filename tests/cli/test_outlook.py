"""Properties proved here.

1. `--dry-run` of `compare` and `reproduce` lists the jobs with parameters, needs and hours, marks
   those that are finished, and leaves nothing behind; the first column are names that `--only`
   takes.
2. `--only` does a part without tables or page, and says which command makes them; the whole command
   then finds that part done.
3. The paper preset says first what it will train; other presets do not.
4. On processes, the least time is told; wrong use is one line.
"""

from __future__ import annotations

import pytest

from dualview import cli
from dualview.cli import reproduce
from dualview.cli.outlook import outlook_text
from dualview.experiments import estimating
from dualview.experiments.selection import Sharing
from tests.experiments.test_running import _job, _writes

COMPARE = [
    *("compare", "--width", "8", "--kinds", "dnn", "dlgn", "--seeds", "3-4", "--epochs", "2"),
    *("--threads", "1", "--out", "runs"),
]
DISTIL = [
    *("reproduce", "distillation", "--arch", "fc", "--width", "8", "--seeds", "1-1"),
    *("--epochs", "2", "--threads", "1", "--kinds", "dlgn-copied"),
]


@pytest.fixture(autouse=True)
def _quick(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(estimating, "TRIAL_SECONDS", 0.0)


def _first_column(text):
    return [line.split()[0] for line in text.splitlines() if "-seed" in line.split(" ")[0]]


def test_a_comparison(tmp_path, capsys):
    assert cli.main([*COMPARE, "--dry-run"]) == 0
    text = capsys.readouterr().out
    names = ["dnn-seed3", "dlgn-seed3", "dnn-seed4", "dlgn-seed4"]
    assert _first_column(text) == names
    assert "4 jobs, 4 left to do: about " in text
    assert not list(tmp_path.iterdir())

    assert cli.main([*COMPARE, "--only", names[1], "dnn-*"]) == 0
    text = capsys.readouterr().out
    assert "3 of 3 jobs finished. For tables and report, when all are done: dualview c" in text
    assert "--only" not in text
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        *("dlgn-seed3", "dnn-seed3", "dnn-seed4")
    ]
    assert cli.main([*COMPARE, "--dry-run", "--scheduler", "processes"]) == 0
    text = capsys.readouterr().out
    assert text.count("finished") == 3
    assert "4 jobs, 1 left to do" in text
    assert "On 1 processes" in text
    assert cli.main(COMPARE) == 0
    assert "report.html" in capsys.readouterr().out


def test_an_experiment(tmp_path, capsys):
    assert cli.main([*DISTIL, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert _first_column(text) == ["fc-dnn-seed1", "fc-dlgn-copied-seed1"]
    assert " fc-dnn-seed1  –" in text
    assert "~" in text  # its teacher is not there yet
    assert not list(tmp_path.iterdir())
    assert cli.main([*DISTIL, "--only", "fc-dlgn-copied-seed1"]) == 0
    assert "2 of 2 jobs finished" in capsys.readouterr().out
    assert not list(tmp_path.rglob("report.html"))


def test_the_paper_preset_says_what_it_will_do(capsys, monkeypatch):
    monkeypatch.setattr(reproduce, "planned_text", lambda experiment, *_: f"of {experiment.name}")
    small = [*DISTIL, "--only", "fc-dnn-seed1"]
    for preset, said in (("cpu", False), ("paper", True)):
        assert cli.main([*small, "--preset", preset, "--device", "cpu"]) == 0
        assert ("of distillation" in capsys.readouterr().err) is said


def test_processes(tmp_path, monkeypatch):
    monkeypatch.setattr("dask.system.CPU_COUNT", 4)
    jobs = [_job(tmp_path, str(k), _writes) for k in range(3)]
    assert "nobody knows" in outlook_text(jobs, Sharing(scheduler="processes"), "Jobs")
    assert "processes, which" not in outlook_text(jobs, Sharing(), "Jobs")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "dnn-seed5"], "only: expected names of jobs, such as 'dnn-seed3', got 'dnn-s"),
        (["--scheduler", "threads"], "scheduler: expected 'processes' or an address"),
        (["--workers", "2"], "workers: expected none but with"),
        (["--seeds", "5-3"], "seeds: expected a whole number from 1 to 10000, or seeds as in"),
    ],
)
def test_wrong_use(tmp_path, capsys, options, message):
    assert cli.main([*COMPARE, *options]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"dualview compare: error: {message}")
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
