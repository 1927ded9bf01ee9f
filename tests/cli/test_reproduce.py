"""Properties proved here.

1. Help and the list name every experiment with how long it takes, as the experiment says it.
2. An experiment prints its tables, leaves tables, figures, page and records, and ends with 0; with
   1 where no run finished.
3. Wrong use is one line, with the nearest choice where there is one: unknown names, architectures
   and kinds, options that the experiment lacks, data that does not fit, other settings in the same
   folder, too little room on the disk.
4. A disk that is full on the way leaves a folder that the same command goes on from.
5. Killed in the midst of training, and started again, it ends with exactly the numbers and
   parameters of an uninterrupted one; Ctrl-C ends with 130 and the command that goes on.
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import time
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest

from dualview import cli
from dualview.cli.reproduce import default_folder
from dualview.experiments import recipes
from dualview.experiments.experiment import Request
from dualview.experiments.progress import TerminalProgress
from dualview.experiments.records import load_records
from dualview.experiments.registry import EXPERIMENTS
from dualview.experiments.settings import DataSettings
from dualview.training import CHECKPOINT, checkpoints
from tests.experiments.small import exact, parameters
from tests.processes import kill, start

FAST = [
    *("--arch", "fc", "--width", "8", "--seeds", "1", "--epochs", "12"),
    *("--kinds", "dnn", "dlgn", "--threads", "1", "--device", "cpu"),
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_help_says_how_long(capsys):
    with pytest.raises(SystemExit):
        cli.main(["reproduce", "--help"])
    text = capsys.readouterr().out
    assert "usage: dualview reproduce NAME [OPTION ...]" in text
    for name, experiment in EXPERIMENTS.items():
        assert f"  {name:<14} {experiment.duration}\n" in text


@pytest.mark.parametrize("arguments", [[], ["--list"]])
def test_list(capsys, arguments):
    assert cli.main(["reproduce", *arguments]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for experiment in EXPERIMENTS.values():
        for part in (experiment.name, experiment.question, experiment.source, experiment.duration):
            assert " ".join(part.split()) in text


def test_what_is_left(tmp_path, capsys):
    assert cli.main(["reproduce", "shallow", *FAST]) == 0
    out, err = capsys.readouterr()
    folder = tmp_path / "runs" / "shallow-digits"
    assert out.count("Test accuracy, %") == 1
    assert "FC, DLGN" in out
    assert "Report:  runs/shallow-digits/report.html" in out
    assert len(err.splitlines()) == 4  # each run begins and ends
    assert "<html" in (folder / "report.html").read_text()
    assert (folder / "figures" / "fc-recovered.png").stat().st_size > 1000
    assert (folder / "figures" / "fc-recovered.svg").exists()
    with (folder / "tables" / "shallow-features.csv").open(encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert [row[0] for row in rows[1:]] == ["FC, DNN", "FC, DLGN"]
    assert "| FC, DLGN |" in (folder / "tables" / "shallow-features.md").read_text()
    assert {record.kind for record in load_records(folder)} == {"dnn", "dlgn"}


def test_nothing_finished_is_a_failure(tmp_path, capsys, monkeypatch):
    recipe = recipes.SMALL_RECIPES["fc"]
    wild = replace(recipe.training, optimizer="sgd", learning_rate=1e30, schedule="constant")
    hopeless = {**recipes.SMALL_RECIPES, "fc": replace(recipe, training=wild)}
    monkeypatch.setattr(recipes, "SMALL_RECIPES", hopeless)
    assert cli.main(["reproduce", "shallow", *FAST]) == 1
    out = capsys.readouterr().out
    assert "(1 diverged)" in out
    assert "diverged: fc, dnn, seed 0: the train loss is" in out
    assert (tmp_path / "runs" / "shallow-digits" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["shalow"], 2, "NAME: expected one of"),
        (["shalow"], 2, "did you mean 'shallow'?"),
        (["shallow", "--arch", "c4gep"], 2, "did you mean 'c4gap'?"),
        (["shallow", "--kinds", "dlgn-fs"], 2, "did you mean 'dlgn-sf'?"),
        (["shallow", "--arch", "resnet20"], 1, "Repair"),
        (["shallow", "--optimizer", "sgd"], 2, "--optimizer: shallow has no such choice"),
        (
            ["shallow", "--epochs", "0"],
            2,
            "epochs: expected a whole number from 1 to 1000000",
        ),
        (["shallow", "--device", "abacus"], 2, "not possible here"),
        (["shallow", "--data", "nowhere"], 1, "nowhere: no such file, folder or data set"),
        (["architectures", "--kinds", "dnn-wyde"], 2, "did you mean 'dnn-wide'?"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, capsys, arguments, status, message):
    assert cli.main(["reproduce", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dualview reproduce: error: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_data_that_does_not_fit(tmp_path, capsys):
    labels = np.arange(40) % 2
    np.savez(tmp_path / "odd.npz", x=np.zeros((40, 1, 8, 8), np.float32), y=labels)
    assert cli.main(["reproduce", "alignment", "--data", "odd.npz"]) != 0
    err = capsys.readouterr().err
    assert "expected" in err
    assert len(err.splitlines()) == 1


def test_unknown_options(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["reproduce", "shallow", "--epoch", "3"])
    assert stop.value.code == 2
    assert "did you mean '--epochs'?" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        cli.main(["reproduce", "shallow", "--preset", "papr"])
    assert stop.value.code == 2
    assert "did you mean 'paper'?" in capsys.readouterr().err


def test_other_settings_in_the_same_folder(capsys):
    assert cli.main(["reproduce", "shallow", *FAST]) == 0
    capsys.readouterr()
    assert cli.main(["reproduce", "shallow", *FAST, "--epochs", "3"]) == 1
    err = capsys.readouterr().err
    assert "holds a run with other settings: epochs was 12, is now 3" in err
    assert "--overwrite" in err


def test_too_little_room(tmp_path, capsys, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**30, 2**30, 2**20))
    assert cli.main(["reproduce", "shallow", *FAST]) == 1
    err = capsys.readouterr().err
    assert "free for models and checkpoints, got 1.0 MiB; free some" in err
    assert not list(tmp_path.glob("runs/*/*/config.json"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an uninterrupted experiment."""
    out = tmp_path_factory.mktemp("whole")
    assert cli.main(["reproduce", "shallow", *FAST, "--out", str(out)]) == 0
    return out


def _expect_same(out, whole):
    assert cli.main(["reproduce", "shallow", *FAST, "--out", str(out)]) == 0
    assert exact(load_records(out)) == exact(load_records(whole))
    assert parameters(out) == parameters(whole)
    assert (out / "report.html").exists()


def test_a_full_disk_on_the_way(tmp_path, whole, capsys, monkeypatch):
    save, count = checkpoints.torch.save, 0

    def full(checkpoint, path):
        nonlocal count
        count += 1
        save(checkpoint, path)
        if count == 4:
            os.truncate(path, path.stat().st_size // 2)
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 9 vs 8")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.torch, "save", full)
        assert cli.main(["reproduce", "shallow", *FAST, "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert "no space left on the disk" in err
    assert "give the same command again" in err
    assert "Traceback" not in err
    _expect_same(tmp_path / "out", whole)


def test_killed(tmp_path, whole):
    out = tmp_path / "out"
    process = start(cli.main, ["reproduce", "shallow", *FAST, "--out", str(out)])
    checkpoint = out / "fc-dnn-seed0" / CHECKPOINT
    while not checkpoint.exists() and process.is_alive():
        time.sleep(0.002)
    kill(process)
    assert not (out / "fc-dlgn-seed0" / "record.json").exists()
    _expect_same(out, whole)


def test_ctrl_c(tmp_path, whole, capsys, monkeypatch):
    done = TerminalProgress.done

    def interrupt(self, job, record):
        done(self, job, record)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(TerminalProgress, "done", interrupt)
        assert cli.main(["reproduce", "shallow", *FAST, "--out", "my runs", "--overwrite"]) == 130
    again = f"dualview reproduce shallow {' '.join(FAST)} --out 'my runs'"
    err = capsys.readouterr().err
    assert err.endswith(f"Interrupted; finished epochs are kept. To go on: {again}\n")
    _expect_same(tmp_path / "my runs", whole)


@pytest.mark.parametrize(
    ("request_", "folder"),
    [
        (Request(), "shallow-digits"),
        (Request(preset="paper"), "shallow-digits-paper"),
        (Request(data=DataSettings("../data/cifar 10/")), "shallow-cifar-10"),
    ],
)
def test_default_folder(request_, folder):
    assert default_folder(EXPERIMENTS["shallow"], request_).as_posix() == f"runs/{folder}"
