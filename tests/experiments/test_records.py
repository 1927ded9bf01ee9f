"""Properties proved here.

1. A record is the same after writing and reading, diverged runs included; the file is JSON.
2. What is no record, damaged, of another version or missing is refused with the file's name. What
   is read of a damaged or edited file can be summarised and shown.
3. A folder's records are read in the order of their names; a folder without any is refused.
4. Provenance names versions, device and time, and the commit where there is one.
"""

import dataclasses
import json
import math
import platform
import re
from dataclasses import asdict
from datetime import datetime

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualview.cli.comparison import result_text
from dualview.errors import RunError
from dualview.experiments.records import (
    RECORD_VERSION,
    EpochMetrics,
    Provenance,
    load_record,
    load_records,
    provenance,
    save_record,
)
from tests.damage import damaged
from tests.record_cases import diverged, run_record


@pytest.mark.parametrize("record", [run_record(), diverged(run_record("dgn", seed=2))])
def test_round_trip(tmp_path, record):
    path = tmp_path / "record.json"
    save_record(record, path)
    assert load_record(path) == record
    assert json.loads(path.read_text())["version"] == RECORD_VERSION


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "3", "{}", '{"version": 1}', '{"version": 1, "curve": 3, "provenance": {}}'],
)
def test_what_is_no_record_is_refused(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(RunError, match=r"record\.json: expected a run record"):
        load_record(path)


def test_unknown_and_missing_fields_are_refused(tmp_path):
    path = tmp_path / "record.json"
    save_record(run_record(), path)
    fields = json.loads(path.read_text())
    for changed in ({**fields, "colour": "red"}, {k: v for k, v in fields.items() if k != "kind"}):
        path.write_text(json.dumps(changed))
        with pytest.raises(RunError, match=r"colour|kind: expected a value"):
            load_record(path)


PLACES = [
    *((name,) for name in asdict(run_record())),
    *(("curve", 0, field.name) for field in dataclasses.fields(EpochMetrics)),
    *(("provenance", field.name) for field in dataclasses.fields(Provenance)),
]
VALUES = st.sampled_from(
    [None, True, -1, 3, 2.5, math.nan, "x", [], [1], {}, {"a": 1}, 10**400, ["finished"]]
)


@st.composite
def edited(draw, content):
    """JSON with another value in some places."""
    fields = json.loads(content)
    for *above, name in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=2)):
        inner = fields
        for step in above:
            inner = inner[step] if isinstance(inner, dict | list) and inner else {}
        if isinstance(inner, dict):
            inner[name] = draw(VALUES)
    return json.dumps(fields).encode()


def _outcome(path):
    """What a comparison shows of the record, or the message of the error."""
    try:
        return result_text([load_record(path)]), None
    except RunError as error:
        return None, str(error)


@given(data=st.data())
def test_damage_is_refused_or_can_be_shown(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "record.json"
    save_record(run_record(), path)
    content = path.read_bytes()
    path.write_bytes(data.draw(damaged(content) | edited(content)))
    shown, message = _outcome(path)
    if message is None:
        assert "accuracy" in shown
    else:
        assert re.match(rf"{path}: expected a (run )?record.* got .*; (name|read)", message)


def test_a_status_that_no_run_has_is_refused(tmp_path):
    path = tmp_path / "record.json"
    save_record(run_record(status="lost"), path)
    with pytest.raises(RunError, match="expected finished or diverged, got 'lost'"):
        load_record(path)
    save_record(run_record(test_accuracy=None), path)
    with pytest.raises(RunError, match="test_accuracy: expected that of the last epoch, got none"):
        load_record(path)


def test_another_version_is_refused(tmp_path):
    path = tmp_path / "record.json"
    save_record(dataclasses.replace(run_record(), version=RECORD_VERSION + 1), path)
    with pytest.raises(RunError, match=f"version {RECORD_VERSION}, got version"):
        load_record(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(RunError, match="FileNotFoundError"):
        load_record(tmp_path / "record.json")


def test_records_of_a_folder(tmp_path):
    for kind, seed in (("dnn", 1), ("dgn", 0), ("dnn", 0)):
        folder = tmp_path / f"{kind}-seed{seed}"
        folder.mkdir()
        save_record(run_record(kind, seed), folder / "record.json")
    (tmp_path / "unfinished").mkdir()
    found = [(record.kind, record.seed) for record in load_records(tmp_path)]
    assert found == [("dgn", 0), ("dnn", 0), ("dnn", 1)]


def test_a_folder_without_records_is_refused(tmp_path):
    with pytest.raises(RunError, match="found none"):
        load_records(tmp_path)


def test_provenance():
    here = provenance("cpu (1 thread)")
    assert here.torch == torch.__version__.partition("+")[0] or here.torch == torch.__version__
    assert here.python == platform.python_version()
    assert here.device == "cpu (1 thread)"
    assert datetime.fromisoformat(here.finished).tzinfo is not None
    assert len(here.commit.removesuffix("+changes")) in (0, 12)
