"""Properties proved here.

1. A free name, an empty folder, leftovers of a broken write and a run with the same settings are
   accepted; a run with other settings is refused, and the message names each that differs.
2. A run that finished no epoch has nothing to keep, so other settings may take its folder.
3. What is not a run is refused, and never deleted; a run is deleted in one step.
4. A folder is held by one process at a time, and let go at the end, whatever happened.
"""

import json
import shutil
from pathlib import Path

import pytest

from dualview.errors import RunError
from dualview.experiments.run_folders import (
    CONFIG,
    RECORD,
    check_folder,
    close_folder,
    delete_run,
    differences,
    locked,
    open_folder,
)
from dualview.files.writing import PART
from dualview.training import CHECKPOINT

EARLIER = {"epochs": 3, "learning_rate": 0.1, "kind": "dnn"}


@pytest.fixture(params=[CHECKPOINT, RECORD])
def begun(tmp_path, request):
    """A run that has something to keep."""
    folder = tmp_path / "dnn-seed0"
    open_folder(folder, EARLIER)
    (folder / request.param).write_text("{}")
    return folder


def test_free_names_are_accepted(tmp_path):
    check_folder(tmp_path / "new", EARLIER)
    check_folder(tmp_path, EARLIER)
    (tmp_path / f"config.json{PART}").write_text("{")
    check_folder(tmp_path, EARLIER)


def test_the_same_settings_are_accepted(begun):
    check_folder(begun, dict(reversed(EARLIER.items())))


def test_other_settings_are_named(begun):
    with pytest.raises(RunError) as caught:
        check_folder(begun, {"epochs": 4, "kind": "dnn", "beta": 2.0})
    message = str(caught.value)
    assert "epochs was 3, is now 4" in message
    assert "learning_rate was 0.1, is now not set" in message
    assert "beta was not set, is now 2.0" in message
    assert "kind" not in message.partition("Repair")[0].partition("settings:")[2]
    assert "--overwrite" in message
    assert "--out" in message


def test_a_run_without_an_epoch_gives_way(tmp_path):
    folder = tmp_path / "dnn-seed0"
    open_folder(folder, EARLIER)
    check_folder(folder, {"epochs": 4})
    open_folder(folder, {"epochs": 4})
    assert json.loads((folder / CONFIG).read_text()) == {"epochs": 4}


def test_opening_again_keeps_the_config(begun):
    open_folder(begun, {"epochs": 4})
    assert json.loads((begun / CONFIG).read_text()) == EARLIER


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_unreadable_options_are_refused(begun, content):
    (begun / CONFIG).write_text(content)
    with pytest.raises(RunError, match=r"config\.json: expected the options of a run"):
        check_folder(begun, EARLIER)


def test_what_is_no_run_is_refused_and_stays(tmp_path):
    foreign, file = tmp_path / "foreign", tmp_path / "file"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    file.write_text("also")
    for path in (foreign, file):
        with pytest.raises(RunError, match="choose another --out"):
            check_folder(path, EARLIER)
        with pytest.raises(RunError, match="choose another --out"):
            delete_run(path)
    assert (foreign / "thesis.tex").read_text() == "years of work"
    assert file.read_text() == "also"


def test_deleting_a_run(begun):
    delete_run(begun)
    assert list(begun.parent.iterdir()) == []
    delete_run(begun)  # nothing there is as good


def test_deleting_is_one_step(begun, monkeypatch):
    def die(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            delete_run(begun)
    assert not begun.exists()
    open_folder(begun, EARLIER)
    delete_run(begun)
    assert list(begun.parent.iterdir()) == []


def test_closing_removes_what_only_an_unfinished_run_needs(begun):
    for name in (CHECKPOINT, RECORD, f"{CHECKPOINT}{PART}", "metrics.csv"):
        (begun / name).write_text("{}")
    close_folder(begun)
    assert sorted(path.name for path in begun.iterdir()) == [CONFIG, "metrics.csv", RECORD]


def test_differences():
    assert differences(EARLIER, dict(EARLIER)) == []
    assert differences({"a": None}, {}) == ["a was the default, is now not set"]


def test_one_process_at_a_time(tmp_path):
    out = tmp_path / "out"
    with locked(out), pytest.raises(RunError, match=r"process \d+ is training here"), locked(out):
        pass
    with pytest.raises(KeyError), locked(out):
        raise KeyError
    with locked(out):
        pass


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="choose another --out"), locked(tmp_path / "file"):
        pass
