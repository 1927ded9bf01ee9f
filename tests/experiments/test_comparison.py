"""Properties proved here.

1. Every kind runs with every seed, each in its own folder with config, metrics, parameters and
   record; no checkpoint is left. The records are those read back from the folders.
2. Killed before or after any of the files it writes, and started again, a comparison ends with
   exactly the records and parameters of an uninterrupted one.
3. So it does after real SIGKILLs of its process, at several moments.
4. Finished runs are not trained again; more seeds or kinds train the new ones only.
5. Other settings, or other data of the same name, are refused with the setting's name, before
   anything is trained; `overwrite` trains anew.
6. A run that diverges is recorded, and the others go on.
7. A comparison in a folder that another process uses is refused, and what cannot be built leaves no
   folder.
8. The records do not depend on the other runs of the comparison.
"""

import json
import time
from pathlib import Path

import pytest
import torch

from dualview.errors import RunError
from dualview.experiments.comparison import RESULTS, compare, plan_comparison
from dualview.experiments.jobs import Silent
from dualview.experiments.networks import build_network
from dualview.experiments.records import load_record, load_records
from dualview.experiments.run_folders import CONFIG, RECORD
from dualview.experiments.selection import Sharing
from dualview.files.locking import locked
from dualview.training import CHECKPOINT, METRICS, MODEL, SettingsError
from tests.experiments.small import exact, parameters, small
from tests.processes import kill, start
from tests.training.tiny import tiny_data

DATA = tiny_data()


def test_each_run_leaves_its_folder(tmp_path):
    settings = small(kinds=("dnn", "dgn", "dlgn-ones"), seeds=2)
    records = compare(settings, tmp_path, data=DATA)
    runs = [(record.kind, record.seed) for record in records]
    assert runs == [(kind, seed) for seed in (0, 1) for kind in settings.kinds]
    for record in records:
        folder = tmp_path / f"{record.kind}-seed{record.seed}"
        assert {p.name for p in folder.iterdir()} == {CONFIG, METRICS, MODEL, RECORD}
        assert load_record(folder / RECORD) == record
        assert json.loads((folder / CONFIG).read_text()) == record.config
        assert record.status == "finished"
        assert (record.n_train, record.n_validation, record.n_test) == (40, 12, 12)
        assert record.test_accuracy == record.curve[-1].test_accuracy
        assert len(record.curve) == record.epochs == 2
    results = json.loads((tmp_path / RESULTS).read_text())
    assert [row["kind"] for row in results["summary"]] == list(settings.kinds)
    assert results["runs"] == [f"{kind}-seed{seed}" for kind, seed in runs]
    for run, record in zip(plan_comparison(settings, tmp_path, data=DATA), records, strict=True):
        assert run.parameters == record.parameters


class _Killed(BaseException):
    """What a kill is to a process: nothing handles it."""


def _dying(rename, moment, before):
    """`rename`, that dies before or after its call of that number."""
    calls = iter(range(1_000_000))

    def replace(self, target):
        last = next(calls) == moment
        if last and before:
            raise _Killed
        done = rename(self, target)
        if last:
            raise _Killed
        return done

    return replace


@pytest.mark.parametrize("before", [True, False])
def test_killed_at_any_write(tmp_path, monkeypatch, before):
    settings = small(kinds=("dlgn",))
    whole = compare(settings, tmp_path / "whole", data=DATA)
    rename = Path.replace
    for moment in range(100):
        out = tmp_path / f"killed-{moment}"
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", _dying(rename, moment, before))
            try:
                compare(settings, out, data=DATA)
            except _Killed:
                pass
            else:
                break  # there are no more files to write
        assert exact(compare(settings, out, data=DATA)) == exact(whole)
        assert parameters(out) == parameters(tmp_path / "whole")
        assert not list(out.glob(f"*/{CHECKPOINT}*"))
    # config, metrics and checkpoint twice, metrics, parameters, record, results
    assert moment == 9


SLOWER = small(kinds=("dnn", "dlgn"), training={"epochs": 30, "flip": True, "crop": 1})


def _compare_slower(out):
    compare(SLOWER, out, data=DATA)


def _kill_when(condition, out):
    """Start the comparison in a process of its own, and kill it once the condition holds."""
    process = start(_compare_slower, out)
    while not condition() and process.is_alive():
        time.sleep(0.002)
    kill(process)


def _epochs_kept(folder):
    path = folder / METRICS
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def test_killed_by_the_system(tmp_path):
    out, first, second = tmp_path / "out", tmp_path / "out/dnn-seed0", tmp_path / "out/dlgn-seed0"
    _kill_when(lambda: _epochs_kept(first) >= 3, out)
    assert not (first / RECORD).exists()
    _kill_when(lambda: _epochs_kept(second) >= 10, out)
    assert (first / RECORD).exists()
    assert not (second / RECORD).exists()
    resumed = compare(SLOWER, out, data=DATA)
    whole = compare(SLOWER, tmp_path / "whole", data=DATA)
    assert exact(resumed) == exact(whole)
    assert parameters(out) == parameters(tmp_path / "whole")
    assert _epochs_kept(second) == 30


class _Notes(Silent):
    def __init__(self):
        self.trained, self.kept = [], []

    def skipped(self, run, record):
        self.kept.append(run.name)

    def done(self, run, record):
        self.trained.append(run.name)


def _noted(*arguments, **options):
    notes = _Notes()
    records = compare(*arguments, progress=notes, **options)
    return notes, records


def test_finished_runs_are_not_trained_again(tmp_path):
    records = compare(small(), tmp_path, data=DATA)
    notes, again = _noted(small(), tmp_path, data=DATA)
    assert again == records
    assert (notes.trained, notes.kept) == ([], ["dnn-seed0", "dlgn-seed0"])


def test_more_runs_train_the_new_ones_only(tmp_path):
    compare(small(), tmp_path, data=DATA)
    more = small(kinds=("dnn", "dgn", "dlgn"), seeds=2)
    notes, records = _noted(more, tmp_path, data=DATA)
    assert notes.kept == ["dnn-seed0", "dlgn-seed0"]
    assert notes.trained == ["dgn-seed0", "dnn-seed1", "dgn-seed1", "dlgn-seed1"]
    assert sorted(map(str, records)) == sorted(map(str, load_records(tmp_path)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (small(training={"epochs": 3}), "epochs was 2, is now 3"),
        (small(training={"learning_rate": 0.02}), "learning_rate was 0.01, is now 0.02"),
        (small(training={"threads": 2}), "threads was 1, is now 2"),
        (small(width=9), "width was 8, is now 9"),
        (small(beta=5.0), "beta was 4.0, is now 5.0"),
    ],
)
def test_other_settings_are_refused(tmp_path, changed, message):
    compare(small(kinds=("dlgn",)), tmp_path, data=DATA)
    with pytest.raises(RunError, match=message):
        compare(changed, tmp_path, data=DATA)
    assert len(list(tmp_path.glob("*/"))) == 1


def test_options_of_gates_do_not_touch_the_dnn(tmp_path):
    compare(small(kinds=("dnn",)), tmp_path, data=DATA)
    notes, _ = _noted(small(kinds=("dnn",), beta=5.0, max_pool="average"), tmp_path, data=DATA)
    assert notes.kept == ["dnn-seed0"]


def test_other_data_is_refused(tmp_path):
    compare(small(), tmp_path, data=DATA)
    with pytest.raises(RunError, match="data_fingerprint was"):
        compare(small(), tmp_path, data=tiny_data(seed=1))


def test_overwrite_trains_anew(tmp_path):
    first = compare(small(), tmp_path, data=DATA)
    changed = small(training={"epochs": 1})
    notes, records = _noted(changed, tmp_path, data=DATA, overwrite=True)
    assert notes.trained == ["dnn-seed0", "dlgn-seed0"]
    assert [len(record.curve) for record in records] == [1, 1]
    back = compare(small(), tmp_path, data=DATA, overwrite=True)
    assert exact(back) == exact(first)


def test_divergence_stops_one_run_only(tmp_path, monkeypatch):
    def build(settings, kind, seed, data):
        net = build_network(settings, kind, seed, data)
        if (kind, seed) == ("dnn", 1):
            torch.nn.init.constant_(net[-1].bias, float("nan"))
        return net

    monkeypatch.setattr("dualview.experiments.classifiers.build_network", build)
    settings = small(seeds=2)
    records = compare(settings, tmp_path, data=DATA)
    status = {(record.kind, record.seed): record.status for record in records}
    assert status.pop(("dnn", 1)) == "diverged"
    assert set(status.values()) == {"finished"}
    failed = load_record(tmp_path / "dnn-seed1" / RECORD)
    assert failed.test_accuracy is failed.max_test_accuracy_over_epochs is None
    assert "train loss is nan in epoch 1 of 2" in failed.message
    assert {p.name for p in (tmp_path / "dnn-seed1").iterdir()} == {CONFIG, METRICS, RECORD}
    notes, again = _noted(settings, tmp_path, data=DATA)
    assert notes.trained == []
    assert again == records


def test_a_folder_in_use_is_refused(tmp_path):
    at_work = locked(tmp_path / "dlgn-seed0", "is training here", "x")
    with at_work, pytest.raises(RunError, match="is training here"):
        compare(small(), tmp_path, data=DATA)
    assert not (tmp_path / "dnn-seed0").exists()


def test_a_part_of_the_runs(tmp_path):
    settings = small(seeds="3-4")
    (one,) = compare(settings, tmp_path, data=DATA, sharing=Sharing(only=("dlgn-seed4",)))
    assert (one.kind, one.seed) == ("dlgn", 4)
    assert [path.name for path in tmp_path.iterdir()] == ["dlgn-seed4"]
    records = compare(settings, tmp_path, data=DATA)
    assert [(r.kind, r.seed) for r in records] == [
        *(("dnn", 3), ("dlgn", 3), ("dnn", 4), ("dlgn", 4))
    ]
    assert records[-1] == one
    assert (tmp_path / RESULTS).exists()
    planned = plan_comparison(settings, tmp_path, data=DATA)
    assert [job.config for job in planned] == [record.config for record in records]


def test_the_second_of_two_processes_is_refused(tmp_path):
    process = start(_compare_slower, tmp_path)
    while not _epochs_kept(tmp_path / "dnn-seed0") and process.is_alive():
        time.sleep(0.002)
    for overwrite in (False, True):
        with pytest.raises(RunError, match=f"process {process.pid} on .+ is training"):
            compare(SLOWER, tmp_path, data=DATA, overwrite=overwrite)
    process.join()
    assert process.exitcode == 0
    assert [record.kind for record in load_records(tmp_path)] == ["dlgn", "dnn"]


@pytest.mark.parametrize(
    "settings",
    [small(arch="resnet21"), small(arch="vgg16"), small(training={"accelerator": "abacus"})],
)
def test_what_cannot_be_built_leaves_no_folder(tmp_path, settings):
    with pytest.raises(SettingsError):
        compare(settings, tmp_path / "out", data=DATA)
    assert not (tmp_path / "out").exists()


def test_runs_do_not_depend_on_each_other(tmp_path):
    together = compare(small(kinds=("dgn", "dlgn"), seeds=2), tmp_path / "a", data=DATA)
    alone = compare(small(kinds=("dlgn",), seeds=2), tmp_path / "b", data=DATA)
    assert exact([record for record in together if record.kind == "dlgn"]) == exact(alone)
