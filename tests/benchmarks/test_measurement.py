"""What a benchmark measures.

- Bounds hold at and within their limits, never for a NaN, and say so; without bounds nothing is
  claimed. Figures have three digits.
- A record written is the record read; it names neither the file it went to nor folders of one
  machine. Nothing is measured before the load is read, and nothing written without `--json`.
- A file that is no record, or of another version, is refused.
"""

import json
from math import nan

import measurement
import pytest
from measurement import Measurement, claim_of, read_record, report, shown

from dualview.errors import RunError

FIGURES = (
    Measurement("DLGN", "time, median", 12.345, "ms", 10, at_most=15.0),
    Measurement("DLGN", "images", 19_000.0, "images/s", 5, at_least=20_000),
    Measurement("DNN", "peak memory", 0.1, "MB", 1),
)


@pytest.mark.parametrize(
    ("value", "bounds", "holds"),
    [
        (2.0, {"at_most": 2.0}, True),
        (2.1, {"at_most": 2.0}, False),
        (2.0, {"at_least": 2.0}, True),
        (1.9, {"at_least": 2.0}, False),
        (1.5, {"at_least": 1.0, "at_most": 2.0}, True),
        (0.5, {"at_least": 1.0, "at_most": 2.0}, False),
        (nan, {"at_most": 2.0}, False),
        (nan, {"at_least": 2.0}, False),
    ],
)
def test_bounds(value, bounds, holds):
    measured = Measurement("net", "time", value, "s", 3, **bounds)
    assert measured.holds == holds
    assert measured.claim.endswith(": holds" if holds else ": DOES NOT HOLD")


def test_without_bounds_nothing_is_claimed():
    assert FIGURES[2].holds
    assert FIGURES[2].claim == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (12.345, "12.3"), (131072.0, "131,072"), (2e-7, "2e-07"), (0.0, "0")],
)
def test_shown(value, text):
    assert shown(value) == text


def test_the_claim_is_the_first_line():
    assert claim_of("Claim: it is quick.\n\nHow.") == "It is quick."


def test_written_and_read(tmp_path, monkeypatch, capsys):
    path = tmp_path / "new" / "quick.json"
    places = ["--json", str(path), "--kept", "parts"]
    command = ["quick.py", "--quick", *places, "--page", "/home/user/runs/dlgn-seed0"]
    monkeypatch.setattr("sys.argv", command)
    loads = []

    def lazily():
        loads.append(1.0)
        yield from FIGURES

    monkeypatch.setattr(measurement.os, "getloadavg", lambda: (0.25 + sum(loads), 9.0, 9.0))
    report("somewhere/quick.py", "Claim: it is quick.", lazily(), ["numpy"], path)
    record = read_record(path)
    assert (record.name, record.claim, record.load) == ("quick", "It is quick.", 0.25)
    assert record.options == ("--quick", "--page", "dlgn-seed0")
    assert record.measurements == FIGURES
    assert list(record.libraries) == ["numpy"]
    machine, *lines = capsys.readouterr().out.splitlines()
    assert "load 0.2" in machine
    assert "DOES NOT HOLD" in lines[1]
    assert len(lines) == len(FIGURES)


def test_without_a_file_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report("quick.py", "Claim: it is quick.", FIGURES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version": 2}', json.dumps({"version": 1, "measurements": [{"n": 1}]})],
)
def test_what_is_no_record(tmp_path, text):
    path = tmp_path / "quick.json"
    path.write_text(text)
    with pytest.raises(RunError, match=r"quick\.json: expected a benchmark's record.*again"):
        read_record(path)
