"""Properties proved here.

1. A free name, an empty folder, leftovers of a broken write and a run with the same settings are
   accepted; a run with other settings is refused, and the message names each that differs.
2. A run that finished no epoch has nothing to keep, so other settings may take its folder.
3. What is not a run is refused, and never deleted; a run is deleted in one step, and not where
   somebody's files lie with it: nothing of it goes then.
4. A lock that a killed process left is of a run, and goes with it.
"""

import json
import shutil
from pathlib import Path

import pytest

from dualview.errors import RunError
from dualview.experiments.run_folders import (
    CONFIG,
    RECORD,
    WRITTEN,
    check_folder,
    close_folder,
    delete_run,
    open_folder,
)
from dualview.training import CHECKPOINT, MODEL, TENSORBOARD

EARLIER = {"experiment": "compare", "epochs": 3, "learning_rate": 0.1, "kind": "dnn"}


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
    (tmp_path / "config.json.a1b2c3d4.part").mkdir()
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


@pytest.fixture
def everything(begun):
    """A run with all that runs write."""
    for name in WRITTEN:
        (begun / name).exists() or (begun / name).write_text("{}")
    (begun / TENSORBOARD).mkdir()
    (begun / TENSORBOARD / "events.out.tfevents.1700000000.host.1.0").touch()
    (begun / TENSORBOARD / "hparams.yaml").touch()
    (begun / "record.json.a1b2c3d4.part").mkdir()
    return begun


def test_deleting_all_that_runs_write(everything):
    delete_run(everything)
    assert list(everything.parent.iterdir()) == []


@pytest.mark.parametrize(
    "foreign", ["thesis.tex", "notes/thesis.tex", f"{TENSORBOARD}/thesis.tex", "a.part/thesis.tex"]
)
def test_foreign_files_are_not_deleted(everything, foreign):
    (everything / foreign).parent.mkdir(exist_ok=True)
    (everything / foreign).write_text("years of work")
    before = sorted(everything.rglob("*"))
    with pytest.raises(RunError, match=r"which is not of a run; all of it stays\. Repair"):
        delete_run(everything)
    assert sorted(everything.rglob("*")) == before


def test_another_programs_config_is_not_deleted(begun):
    (begun / CONFIG).write_text('{"architectures": ["BertModel"]}')
    (begun / MODEL).write_text("{}")
    with pytest.raises(RunError, match=r"with 'config\.json', which is not of a run"):
        delete_run(begun)
    (begun / CONFIG).write_text("{")  # damaged: --overwrite is the repair
    delete_run(begun)
    assert not begun.exists()


@pytest.mark.parametrize("call", [delete_run, lambda folder: open_folder(folder, EARLIER)])
def test_links_are_not_followed(begun, call):
    link = begun.with_name("dgn-seed0")
    link.symlink_to(begun)
    for _ in range(2):
        with pytest.raises(RunError, match="got a link to"):
            call(link)
        with pytest.raises(RunError, match="got a link to"):
            check_folder(link, EARLIER)
        assert (begun / CONFIG).exists()
        link.unlink()
        link.symlink_to(begun.with_name("nowhere"))


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
    for name in (CHECKPOINT, RECORD, "metrics.csv"):
        (begun / name).write_text("{}")
    (begun / f"{CHECKPOINT}.a1b2c3d4.part").mkdir()
    close_folder(begun)
    assert sorted(path.name for path in begun.iterdir()) == [CONFIG, "metrics.csv", RECORD]


def test_a_saved_network_is_of_a_run_and_nothing_beside_it(begun):
    network = begun / "network"
    network.mkdir()
    (network / MODEL).write_text("numbers")
    (network / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"'network/notes\.txt'"):
        delete_run(begun)
    (network / "notes.txt").unlink()
    delete_run(begun)
    assert not begun.exists()


def test_a_lock_that_was_left(begun, tmp_path):
    (begun / ".lock").write_text("1 host 2026-01-01T00:00:00Z\n")
    check_folder(begun, EARLIER)
    delete_run(begun)
    assert not begun.exists()
    begun.mkdir()
    (begun / ".lock").touch()
    check_folder(begun, {})
