"""Properties proved here.

1. A comparison prints its table and where report and records are, and ends with 0; with 1 where no
   run finished, which is told run by run.
2. The text names the data, its sizes and the architecture.
"""

from pathlib import Path

from dualview.cli.comparison import REPORT, result_text, run_comparison
from dualview.experiments.comparison import compare
from tests.experiments.small import small
from tests.training.tiny import tiny_data

DATA = tiny_data()


def test_said_and_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dualview.experiments.comparison.load_settings", lambda settings: DATA)
    status = run_comparison(small(), tmp_path, overwrite=False, again="dualview compare")
    out = capsys.readouterr().out
    assert status == 0
    assert f"Report:  {tmp_path / REPORT}" in out
    assert (tmp_path / REPORT).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert len(list(tmp_path.glob("*/record.json"))) == 2


def test_no_run_finished(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dualview.experiments.comparison.load_settings", lambda settings: DATA)
    settings = small(kinds=("dnn",), training={"optimizer": "sgd", "learning_rate": 1e20})
    assert run_comparison(settings, tmp_path, overwrite=False, again="") == 1
    assert "diverged: dnn, seed 0" in capsys.readouterr().out


def test_text(tmp_path: Path):
    records = compare(small(kinds=("dnn",)), tmp_path, data=DATA)
    first = result_text(records).splitlines()[1]
    assert first.startswith(f"{DATA.description}: fc")
    assert f"{len(DATA.train)} train and {len(DATA.test)} test examples" in first
