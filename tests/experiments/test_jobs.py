"""Properties proved here.

1. Jobs are done in their order, each with its own folder; a job finds the files of earlier ones.
2. Finished jobs are read back, measurements included, and not performed again.
3. Every folder is checked before any job is performed.
4. A full disk, whoever reports it, ends in one error that says how to go on; other errors pass.
5. A record holds what its config, its result and its measurements say; a diverged run is not
   measured.
"""

from __future__ import annotations

import dataclasses

import pytest
from torch import nn

from dualview.errors import RunError
from dualview.experiments.jobs import Job, record, run_jobs, training_config, training_job
from dualview.experiments.records import load_record
from dualview.experiments.run_folders import RECORD
from dualview.training import TrainingResult, TrainSettings
from tests.record_cases import run_record
from tests.training.tiny import tiny_data, tiny_net

CONFIG = {
    "experiment": "trial",
    "data": "stripes",
    "arch": "tiny",
    "width": None,
    "n_train": 40,
    "n_validation": 12,
    "n_test": 12,
    "epochs": 2,
}


def _job(out, name, perform, **config):
    return Job("dnn", 0, out / name, {**CONFIG, **config}, 1.0, name, perform)


def _writes(folder, watcher):
    (folder / "note.txt").write_text(folder.name)
    return run_record("dnn", measurements={"notes": [1, 2.5, "x"]})


def test_in_order_with_earlier_files(tmp_path):
    def reads(folder, watcher):
        text = (folder.parent / "first" / "note.txt").read_text()
        return run_record("dlgn", measurements={"read": text})

    jobs = [_job(tmp_path, "first", _writes), _job(tmp_path, "second", reads)]
    first, second = run_jobs(jobs, tmp_path)
    assert first.measurements == {"notes": [1, 2.5, "x"]}
    assert second.measurements == {"read": "first"}
    assert load_record(tmp_path / "second" / RECORD) == second


def test_finished_jobs_are_read_back(tmp_path):
    records = run_jobs([_job(tmp_path, "one", _writes)], tmp_path)

    def never(folder, watcher):
        raise AssertionError("performed again")

    assert run_jobs([_job(tmp_path, "one", never)], tmp_path) == records


def test_all_folders_are_checked_first(tmp_path):
    run_jobs([_job(tmp_path, "second", _writes, beta=1)], tmp_path)
    performed = []

    def notes(folder, watcher):
        performed.append(folder.name)
        return run_record()

    jobs = [_job(tmp_path, "first", notes), _job(tmp_path, "second", notes, beta=2)]
    with pytest.raises(RunError, match="beta was 1, is now 2"):
        run_jobs(jobs, tmp_path)
    assert performed == []


class SafetensorError(Exception):
    """Named as the library's own."""


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 98816 vs 98712"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_says_how_to_go_on(tmp_path, error):
    def full(folder, watcher):
        raise error

    with pytest.raises(RunError, match=r"no space left on the disk .*same command again"):
        run_jobs([_job(tmp_path, "one", full)], tmp_path)
    assert [r.kind for r in run_jobs([_job(tmp_path, "one", _writes)], tmp_path)] == ["dnn"]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), RuntimeError("of another")])
def test_other_errors_pass(tmp_path, error):
    def broken(folder, watcher):
        raise error

    with pytest.raises(type(error)) as caught:
        run_jobs([_job(tmp_path, "one", broken)], tmp_path)
    assert caught.value is error


def test_record_of_a_result():
    curve = run_record(epochs=2).curve
    result = TrainingResult("finished", "", curve, 123, "cpu (1 thread)")
    made = record("trial", CONFIG, "dgn", 3, result, {"a": 1})
    assert (made.experiment, made.kind, made.seed, made.parameters) == ("trial", "dgn", 3, 123)
    assert (made.data, made.architecture, made.width) == ("stripes", "tiny", None)
    assert (made.n_train, made.n_validation, made.n_test, made.epochs) == (40, 12, 12, 2)
    assert made.test_accuracy == curve[-1].test_accuracy
    assert made.measurements == {"a": 1}
    assert made.config is CONFIG
    assert made.provenance.device == "cpu (1 thread)"


def _training(tmp_path, build, **options):
    training = TrainSettings(epochs=2, threads=1, tensorboard=False).resolved(40)
    config = {**CONFIG, **training_config(training)}
    return training_job(
        "dnn",
        0,
        tmp_path / "one",
        config,
        title="one",
        cost=1.0,
        parameters=1,
        build=build,
        data=tiny_data(),
        training=training,
        **options,
    )


def test_a_trained_network_is_measured(tmp_path):
    job = _training(tmp_path, tiny_net, measure=lambda net: {"training": net.training})
    (made,) = run_jobs([job], tmp_path)
    assert made.measurements == {"training": False}
    assert made.status == "finished"


def test_a_diverged_network_is_not_measured(tmp_path):
    def broken() -> nn.Module:
        net = tiny_net()
        nn.init.constant_(net[-1].bias, float("nan"))
        return net

    (made,) = run_jobs([_training(tmp_path, broken, measure=lambda net: 1 / 0)], tmp_path)
    assert (made.status, made.measurements) == ("diverged", {})


def test_training_config_holds_every_option_but_the_log():
    names = {field.name for field in dataclasses.fields(TrainSettings)} - {"tensorboard"}
    assert set(training_config(TrainSettings())) == names
