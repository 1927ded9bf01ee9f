"""Properties proved here.

1. A record is the same after writing and reading, diverged runs included; the file is JSON.
2. What is no record, damaged, of another version or missing is refused with the file's name.
3. A folder's records are read in the order of their names; a folder without any is refused.
4. Provenance names versions, device and time, and the commit where there is one.
"""

import dataclasses
import json
import platform
from datetime import datetime

import pytest
import torch

from dualview.errors import RunError
from dualview.experiments.records import (
    RECORD_VERSION,
    load_record,
    load_records,
    provenance,
    save_record,
)
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
        with pytest.raises(RunError, match="TypeError"):
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
