"""Properties proved here.

1. Every registered statement holds on quick settings, with its texts filled in and short enough;
   names are unique, sections known, in the order of the page.
2. Every registered statement is able to fail: a small change of one of its pairs is found.
3. The same seed gives the same numbers, another seed others; the caller's random state is kept.
4. A record survives being written and read, failed statements and missing numbers included; what is
   no record, or of another version, is refused.
5. A statement that does not hold is in the record, and the others are tried all the same.
"""

import json
from dataclasses import replace

import pytest
import torch

from dualview.errors import RunError
from dualview.experiments.theory import run, text
from dualview.experiments.theory.run import (
    MEASUREMENTS,
    SECTIONS,
    STATEMENTS,
    check,
    load_theory,
    run_theory,
    save_theory,
)
from dualview.experiments.theory.statement import EXACT, Pair, Settings, Sides
from tests.experiments.theory.cases import failed_record, theory_record
from tests.experiments.theory.checking import QUICK, measured, sides_of

each = pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.name)


def test_registry():
    names = [statement.name for statement in STATEMENTS]
    assert len(set(names)) == len(names) > 50
    sections = [statement.section for statement in STATEMENTS]
    assert list(dict.fromkeys(sections)) == list(SECTIONS)
    assert sections == sorted(sections, key=list(SECTIONS).index)
    registered = sum(len(module.STATEMENTS) for module in run._OF_SECTION)
    assert len(STATEMENTS) == registered
    used = {s.measurement for s in STATEMENTS} - {None}
    assert used <= {series.name for series in MEASUREMENTS}


def given(statement, sides):
    """The record of the statement with these sides, by whatever way they were found."""
    return check(replace(statement, compute=lambda source: sides), QUICK, measured())


@each
def test_every_statement_holds(statement):
    record = given(statement, sides_of(statement.name))
    assert record.holds, record
    assert record.name == statement.name
    assert record.n > 0
    assert record.seconds > 0
    assert 0 < len(record.title) <= text.COLUMNS[0]
    assert all((record.source, record.left_is, record.right_is, record.unit))
    assert record.text.endswith(".")
    if statement.comparison == "equal" and statement.bound == EXACT:
        assert record.error < 1e-11
    if statement.comparison == "mean" and not statement.name.endswith("slope"):
        assert record.bound < 0.12, "so wide an error shows little"


@each
def test_every_statement_can_fail(statement):
    sides = sides_of(statement.name)
    *others, last = sides.pairs
    broken = Sides((*others, _shifted(last, statement)), sides.n, sides.unit)
    assert not given(statement, broken).holds


def _shifted(pair, statement):
    """Sides that differ where they should not: by little, or, for what is drawn, by a half."""
    if statement.comparison == "differ":
        return replace(pair, left=pair.right)
    if statement.name.endswith("slope"):
        return replace(pair, left=pair.left + 0.5)
    share = 0.5 if statement.comparison == "mean" else max(1e-8, 2 * statement.bound)
    scale = float(pair.right.abs().max()) if pair.scale is None else pair.scale
    return replace(pair, left=pair.left + share * scale)


@pytest.mark.parametrize("name", ["fc-npk", "covariance-drawn"])
def test_seeds(name):
    (statement,) = [s for s in STATEMENTS if s.name == name]
    state = torch.get_rng_state()
    first, again = check(statement, QUICK), check(statement, QUICK)
    other = check(statement, Settings(seed=1, quick=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert replace(first, seconds=0.0) == replace(again, seconds=0.0)
    assert other.left != first.left
    assert other.holds


def test_a_run(monkeypatch):
    good, drawn = STATEMENTS[0], next(s for s in STATEMENTS if s.measurement == "features")
    one = torch.ones(1)
    bad = replace(good, name="bad", compute=lambda s: Sides((Pair(one, 2 * one),), 1))
    monkeypatch.setattr(run, "STATEMENTS", (bad, good, drawn))
    (series,) = (s for s in MEASUREMENTS if s.name == "features")
    taken = replace(series, measure=lambda settings: measured()["features"][0])
    monkeypatch.setattr(run, "MEASUREMENTS", [taken])
    started, done = [], []
    record = run_theory(QUICK, started=started.append, done=done.append)
    assert record.statements == tuple(done)
    assert [s.name for s in record.statements] == ["bad", good.name, drawn.name]
    assert [s.name for s in record.failed] == ["bad"]
    assert [curve.name for curve in record.curves] == ["features"]
    assert record.quick
    assert len(started) == 4
    assert record.seconds >= max(s.seconds for s in record.statements)
    assert record.provenance.python


def test_record_survives_the_disk(tmp_path):
    unknown = {"left": None, "error": None, "bound": None}
    record = theory_record(failed_record(**unknown))
    path = tmp_path / "theory.json"
    save_theory(record, path)
    assert load_theory(path) == record


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got JSONDecodeError"),
        ("[]", "expected a JSON object, got a list"),
        ("{}", "got KeyError"),
        ('{"version": 99}', "version 1, got version 99"),
        ('{"version": 1, "statements": [{}]}', r"statements\[0\]\.name: expected a value"),
    ],
)
def test_what_is_no_record(tmp_path, text, message):
    path = tmp_path / "theory.json"
    path.write_text(text)
    with pytest.raises(RunError, match=message):
        load_theory(path)


def test_missing_record(tmp_path):
    with pytest.raises(RunError, match="FileNotFoundError"):
        load_theory(tmp_path / "theory.json")


def test_json_is_plain(tmp_path):
    save_theory(theory_record(), tmp_path / "theory.json")
    fields = json.loads((tmp_path / "theory.json").read_text())
    assert fields["statements"][0]["verdict"] == "holds"
    assert fields["provenance"]["commit"] == "0123456789ab"
