"""Properties proved here.

1. Collected records are the runs' own, measured floats rounded; scores and options to the bit.
2. A file is one line, and smaller than the run's own record.
3. Experiments come back in the order in which they are listed, records in that of their names.
4. Collected again: the same files. Another run, of other or the same settings: refused, nothing
   written, unless a suffix keeps them apart or the earlier one is to be overwritten. The paper
   preset has a folder of its own.
5. A folder that is no finished experiment, and records of another experiment than their folder
   says, are refused by name; records of experiments that are not listed are kept like any.
6. No suffix, and no word in a run folder, leads out of the folder of results.
"""

from __future__ import annotations

import json

import pytest

from dualview.errors import RunError
from dualview.experiments.collected import collect, read_collected, small
from dualview.experiments.records import load_record, save_record
from dualview.experiments.registry import EXPERIMENTS
from dualview.experiments.reproduction import DONE
from dualview.training import SettingsError
from tests.record_cases import run_record


def run_folder(path, experiment="architectures", preset="cpu", **changes):
    """What `reproduce` leaves, with two runs."""
    done = {"experiment": experiment, "data": "digits", "preset": preset}
    path.mkdir(parents=True, exist_ok=True)
    (path / DONE).write_text(json.dumps(done))
    for kind in ("dnn", "dlgn"):
        folder = path / f"c4gap-{kind}-seed0"
        folder.mkdir(exist_ok=True)
        record = run_record(
            kind, experiment=experiment, architecture="c4gap", **{"seconds": 1 / 3, **changes}
        )
        save_record(record, folder / "record.json")
    return path


def _files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.json")
    }


def test_records_are_kept(tmp_path):
    runs = run_folder(tmp_path / "runs", measurements={"a": [1, 0.123456789, "x"], "b": None})
    first, second = collect(runs, tmp_path / "results")
    assert first == tmp_path / "results/architectures/digits/c4gap-dlgn-seed0.json"
    assert second.name == "c4gap-dnn-seed0.json"
    own = load_record(runs / "c4gap-dlgn-seed0" / "record.json")
    kept = load_record(first)
    assert kept.measurements == {"a": [1, 0.123457, "x"], "b": None}
    assert kept.seconds == 0.333333
    assert kept.test_accuracy == own.test_accuracy
    assert kept.config == own.config
    assert kept.provenance == own.provenance
    for mine, theirs in zip(kept.curve, own.curve, strict=True):
        assert mine.train_loss == pytest.approx(theirs.train_loss, rel=1e-5)
    size = (runs / "c4gap-dlgn-seed0" / "record.json").stat().st_size
    assert first.read_text().count("\n") == 1
    assert first.stat().st_size < 0.8 * size


def test_order(tmp_path):
    for name in reversed(EXPERIMENTS):
        collect(run_folder(tmp_path / name, name), tmp_path / "results")
    found = read_collected(tmp_path / "results")
    assert list(found) == list(EXPERIMENTS)
    assert [r.kind for r in found["architectures"]["digits"]] == ["dlgn", "dnn"]
    assert read_collected(tmp_path / "nowhere") == {}


def test_again_and_with_other_settings(tmp_path):
    results = tmp_path / "results"
    collect(run_folder(tmp_path / "runs"), results)
    before = _files(results)
    collect(tmp_path / "runs", results)
    assert _files(results) == before
    other = run_folder(tmp_path / "other", config={"epochs": 9})
    with pytest.raises(RunError, match=r"other settings: .*epochs was 6, is now 9.*--suffix"):
        collect(other, results)
    assert _files(results) == before
    collect(other, results, "long")
    collect(run_folder(tmp_path / "paper", preset="paper"), results)
    assert set(read_collected(results)["architectures"]) == {
        "digits",
        "digits-long",
        "digits-paper",
    }


def test_another_run_of_the_same_settings(tmp_path):
    results = tmp_path / "results"
    collect(run_folder(tmp_path / "runs"), results)
    before = _files(results)
    other = run_folder(tmp_path / "other", seconds=0.5)
    with pytest.raises(RunError, match=r"another run, of the same settings.*--suffix.*--overwrite"):
        collect(other, results)
    assert _files(results) == before
    kept = results / "architectures" / "digits" / "c4gap-dlgn-seed0.json"
    text = kept.read_bytes()
    kept.write_bytes(b"\xff\xfe")
    with pytest.raises(RunError, match=r"c4gap-dlgn-seed0\.json: .*(read|record)"):
        collect(other, results)
    kept.write_bytes(text)
    collect(other, results, overwrite=True)
    assert _files(results).keys() == before.keys()
    assert {r.seconds for r in read_collected(results)["architectures"]["digits"]} == {0.5}


def test_no_finished_experiment(tmp_path):
    with pytest.raises(RunError, match="expected the output folder of a `dualview reproduce`"):
        collect(tmp_path, tmp_path / "results")
    folder = run_folder(tmp_path / "runs")
    (folder / DONE).write_text('{"experiment": "architecture", "data": "x", "preset": "cpu"}')
    with pytest.raises(RunError, match="of the experiment 'architecture', got one of 'archite"):
        collect(folder, tmp_path / "results")
    (folder / DONE).write_text('{"experiment": "../up", "data": "x", "preset": "cpu"}')
    with pytest.raises(RunError, match=r"the name of an experiment, got '\.\./up'"):
        collect(folder, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_what_a_later_call_began_is_no_result_yet(tmp_path):
    runs = run_folder(tmp_path / "runs")
    begun = runs / "c4gap-dlgn-seed1"
    begun.mkdir()
    (begun / "config.json").write_text("{}")
    with pytest.raises(RunError, match=r"got unfinished ones: c4gap-dlgn-seed1\. Repair: rep"):
        collect(runs, tmp_path / "results")
    save_record(run_record("dlgn", experiment="architectures"), begun / "record.json")
    assert len(collect(runs, tmp_path / "results")) == 3


def test_unknown_folders(tmp_path):
    (tmp_path / "shalow" / "digits").mkdir(parents=True)
    (tmp_path / "shalow" / "digits" / "one.json").write_text(small(run_record()))
    with pytest.raises(RunError, match="of the experiment 'shalow', got one of 'compare'"):
        read_collected(tmp_path)


def test_experiments_of_ones_own(tmp_path):
    results = tmp_path / "results"
    for name in ("zebra", "shallow", "mine"):
        collect(run_folder(tmp_path / name, name), results)
    assert list(read_collected(results)) == ["shallow", "mine", "zebra"]


@pytest.mark.parametrize(
    "suffix", ["../../x", "/tmp/x", "..", "a/b", "a b", "a\0", "x\n", "<b>", "-"]
)
def test_a_suffix_stays_in_its_folder(tmp_path, suffix):
    runs = run_folder(tmp_path / "runs")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SettingsError, match="suffix: expected a word of letters, digits"):
        collect(runs, tmp_path / "results", suffix)
    assert sorted(tmp_path.rglob("*")) == before
    assert collect(runs, tmp_path / "results", "Mine-2")[0].parent.name == "digits-Mine-2"


def test_a_run_folders_own_words_do_not_lead_elsewhere(tmp_path):
    runs = run_folder(tmp_path / "runs", preset="../../../x")
    with pytest.raises(RunError, match=r"expected the preset cpu or paper, got '../../../x'"):
        collect(runs, tmp_path / "results")
    (runs / DONE).write_text('{"experiment": "architectures", "data": "../../x", "preset": "cpu"}')
    assert collect(runs, tmp_path / "results")[0].parent == tmp_path / "results/architectures/x"
