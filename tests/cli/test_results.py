"""Properties proved here.

1. Records are collected from run folders, and page and figures are rebuilt from them.
2. What is no finished experiment is refused in one line, and nothing is written.
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
