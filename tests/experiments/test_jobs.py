"""Properties proved here.

1. A record holds what its config, its result and its measurements say; a diverged run is not
   measured.
"""

from __future__ import annotations

import dataclasses

from torch import nn

from dualview.experiments.jobs import record, training_config, training_job
from dualview.experiments.running import run_jobs
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


def test_record_of_a_result():
    curve = run_record(epochs=2).curve
    result = TrainingResult("finished", "", curve, 123, "cpu (1 thread)")
    made = record(CONFIG, "dgn", 3, result, {"a": 1})
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
