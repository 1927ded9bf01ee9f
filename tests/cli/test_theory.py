"""Properties proved here.

1. `theory` prints a line for each statement under its section's heading, writes page and numbers,
   and ends with 0; the numbers are those that were shown.
2. A statement that does not hold ends it with 1, named in the last lines; page and numbers are
   written all the same.
3. A path that cannot be a page, and a seed below 0, are wrong use, before anything is computed.
4. Ctrl-C leaves no page.
"""

from dataclasses import replace

import pytest
import torch

from dualview import cli
from dualview.experiments.theory import run
from dualview.experiments.theory.run import load_theory
from dualview.experiments.theory.statement import Pair, Sides
from dualview.experiments.theory.text import line

FEW = [s for s in run.STATEMENTS if s.name in ("self-gated", "fc-npk", "fc-ones")]


@pytest.fixture(autouse=True)
def _few(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "STATEMENTS", tuple(FEW))
    monkeypatch.setattr(run, "MEASUREMENTS", ())


def test_success(tmp_path, capsys):
    assert cli.main(["theory", "--seed", "5", "--quick"]) == 0
    out, err = capsys.readouterr()
    record = load_theory(tmp_path / "theory.json")
    assert (record.seed, record.quick, len(record.statements)) == (5, True, 3)
    lines = out.splitlines()
    for statement in record.statements:
        assert lines.count(line(statement)) == 1
    assert lines.index("1  Gates") < lines.index("4.1  Kernel of fully connected networks")
    assert "3 of 3 statements hold (seed 5" in out
    assert out.endswith("Page:    theory.html\nNumbers: theory.json\n")
    assert "All 3 statements" in (tmp_path / "theory.html").read_text()
    assert err == ""
    assert max(map(len, lines)) <= 100


def test_failure(tmp_path, capsys, monkeypatch):
    one = torch.ones(1)
    bad = replace(FEW[1], name="bad", compute=lambda settings: Sides((Pair(one, 3 * one),), 1))
    monkeypatch.setattr(run, "STATEMENTS", (FEW[0], bad, FEW[2]))
    assert cli.main(["theory", "--out", "deep/in/page.html"]) == 1
    out, _ = capsys.readouterr()
    assert "2 of 3 statements hold" in out
    assert f"does not hold: {bad.title} [bad]: dv.npk gives 1, the formula gives 3" in out
    assert "1 of 3 statements does not hold" in (tmp_path / "deep/in/page.html").read_text()
    assert load_theory(tmp_path / "deep/in/page.json").failed[0].name == "bad"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "."], "--out: expected a file such as theory.html, got ."),
        (["--out", "theory.json"], "--out: expected a file such as theory.html"),
        (["--seed", "-1"], "seed: expected a whole number from 0 on, got -1"),
    ],
)
def test_wrong_use(capsys, arguments, message):
    assert cli.main(["theory", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"dualview theory: error: {message}")


def test_interrupted(tmp_path, monkeypatch, capsys):
    def interrupt(settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "STATEMENTS", (replace(FEW[0], compute=interrupt),))
    assert cli.main(["theory"]) == 130
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err.endswith("\nInterrupted; no page was written\n")
