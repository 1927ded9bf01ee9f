"""Properties proved here.

1. Records are collected from run folders, and page and figures are rebuilt from them.
2. Records of an experiment of one's own are collected like any; with its file, so are its tables.
3. What is no finished experiment is refused in one line, and nothing is written.
"""

from __future__ import annotations

import pytest

from dualview import cli
from tests.experiments.test_collected import run_folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_collect_and_rebuild(tmp_path, capsys):
    run_folder(tmp_path / "a")
    run_folder(tmp_path / "b", "shallow")
    assert cli.main(["results", "--collect", "a", "b", "--suffix", "mine"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "2 records of a -> results/architectures/digits-mine" in out
    assert "Page:    docs/results.md" in out
    page = (tmp_path / "docs" / "results.md").read_text()
    assert "### On digits (mine)" in page
    (tmp_path / "docs" / "results.md").unlink()
    assert cli.main(["results"]) == 0
    assert (tmp_path / "docs" / "results.md").read_text() == page
    assert list((tmp_path / "docs" / "images").glob("shallow-digits-mine-*.svg"))


def test_kept_records_are_replaced_on_request(tmp_path, capsys):
    run_folder(tmp_path / "a")
    run_folder(tmp_path / "b", seconds=0.5)
    assert cli.main(["results", "--collect", "a"]) == 0
    assert cli.main(["results", "--collect", "b"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main(["results", "--collect", "b", "--overwrite"]) == 0


def test_other_folders(tmp_path, capsys):
    run_folder(tmp_path / "runs")
    assert cli.main(["results", "--collect", "runs", "--records", "kept", "--docs", "site"]) == 0
    assert (tmp_path / "site" / "results.md").exists()
    assert len(list((tmp_path / "kept").rglob("*.json"))) == 2
    assert not (tmp_path / "results").exists()


def test_no_experiment(tmp_path, capsys):
    assert cli.main(["results", "--collect", "nowhere"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "nowhere: expected the output folder of a `dualview reproduce`" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "docs").exists()


OWN = """
from dataclasses import replace
from dualview.experiments import EXPERIMENTS, Table, classifier_jobs, of_kind, setting

def plan(request, data, out):
    one = setting("my-own", "fc", request, data)
    dlgn = of_kind(one.comparison, "dlgn", one.data)
    return classifier_jobs(one.comparison, [dlgn], out, one.data)

def tables(records):
    return [Table("mine", "Mine", ("kind",), tuple((record.kind.upper(),) for record in records))]

EXPERIMENT = replace(
    EXPERIMENTS["shallow"], name="my-own", title="My question", plan=plan, tables=tables
)
"""


def test_experiment_of_ones_own(tmp_path, capsys):
    (tmp_path / "my_own.py").write_text(OWN)
    size = ["--width", "8", "--seeds", "1", "--epochs", "1", "--threads", "1", "--device", "cpu"]
    assert cli.main(["reproduce", "my_own.py", *size]) == 0
    assert "My question" in capsys.readouterr().out
    assert cli.main(["results", "--collect", "runs/my-own-digits"]) == 0
    page = tmp_path / "docs" / "results.md"
    assert "## My own\n" in page.read_text()
    assert "| FC, DLGN | " in page.read_text()
    assert cli.main(["results", "--experiment", "my_own.py"]) == 0
    assert "## My question\n" in page.read_text()
    assert "| DLGN |" in page.read_text()
