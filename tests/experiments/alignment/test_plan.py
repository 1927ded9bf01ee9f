"""Properties proved here.

1. The paper preset is the published setting, number by number; the cpu preset differs in kinds,
   batch and threads only; what was asked for takes its place.
2. Classes that are not in the data, too few examples and unknown kinds are refused before anything
   is trained.
3. A run ends with the measurements of an uninterrupted one, wherever it was interrupted, and these
   equal a measurement of the trained network taken afresh.
4. On the digits the complexity falls and the alignment grows.
"""

import dataclasses

import pytest
import torch
from safetensors.torch import load_model

from dualview.datasets import load
from dualview.errors import DataError
from dualview.experiments.alignment import plan as alignment
from dualview.experiments.alignment.class_pair import class_pair, first_of_each
from dualview.experiments.alignment.label_alignment import label_alignment
from dualview.experiments.alignment.measure import build_network, hard_npk
from dualview.experiments.experiment import Machine, Request
from dualview.experiments.running import run_jobs
from dualview.training import MODEL, SettingsError, Unwatched
from tests.experiments.small import exact
from tests.training.tiny import tiny_data

DIGITS = load("digits")
CPU = Machine(accelerator="cpu", threads=1)


def test_paper_preset_is_the_published_setting():
    chosen = alignment.preset(Request(preset="paper"), DIGITS)
    training = chosen.training
    assert (chosen.classes, chosen.width, chosen.points, chosen.every) == (("4", "7"), 100, 100, 2)
    assert (chosen.seeds, chosen.kinds) == (5, ("dnn",))
    assert (training.loss, training.optimizer, training.learning_rate) == (
        "squared",
        "rmsprop",
        1e-4,
    )
    assert (training.epochs, training.batch_size, training.schedule) == (50, 64, "constant")
    assert (training.flip, training.crop, training.weight_decay) == (False, 0, 0.0)


def test_cpu_preset_is_almost_the_papers():
    small = alignment.preset(Request(), DIGITS)
    changed = {"kinds", "training"}
    for field in dataclasses.fields(small):
        if field.name not in changed:
            assert getattr(small, field.name) == getattr(alignment.PAPER_PRESET, field.name)
    assert dataclasses.replace(small.training, batch_size=64, threads=None) == (
        alignment.PAPER_PRESET.training
    )
    asked = alignment.preset(Request(seeds=2, width=9, kinds=("dlgn",)), DIGITS)
    assert (asked.seeds, asked.width, asked.kinds) == (2, 9, ("dlgn",))


def test_refusals(tmp_path):
    with pytest.raises(DataError, match=r"expected two of a, b, c .* got '4'"):
        alignment.plan(Request(), tiny_data(), tmp_path)
    with pytest.raises(SettingsError, match="kinds: expected one of dnn, dgn, dlgn"):
        alignment.plan(Request(kinds=("dlgn-sf",)), DIGITS, tmp_path)
    many = dataclasses.replace(alignment.SMALL_PRESET, points=1000)
    with pytest.raises(DataError, match="at least 1000"):
        alignment.plan_preset(many, Request(), DIGITS, tmp_path)
    assert not list(tmp_path.iterdir())


class _Stop(BaseException):
    """Like a signal."""


class _Interrupts(Unwatched):
    def __init__(self, steps):
        self.steps = steps

    def stepped(self):
        self.steps -= 1
        if self.steps == 0:
            raise _Stop


SMALL = dataclasses.replace(
    alignment.SMALL_PRESET,
    width=8,
    points=20,
    seeds=1,
    kinds=("dnn", "dlgn"),
    training=dataclasses.replace(alignment.SMALL_PRESET.training, batch_size=64, tensorboard=False),
)
STEPS = 4  # of an epoch: 252 examples


def _jobs(out, epochs=5):
    return alignment.plan_preset(SMALL, Request(epochs=epochs, machine=CPU), DIGITS, out)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Where the jobs were done without interruption, and their records."""
    out = tmp_path_factory.mktemp("whole")
    return out, run_jobs(_jobs(out), out)


@pytest.mark.parametrize("steps", [1, STEPS + 1, 2 * STEPS, 4 * STEPS + 2])
def test_measurements_survive(tmp_path, steps, done):
    job = _jobs(tmp_path / "cut")[1]
    job.folder.mkdir(parents=True)
    with pytest.raises(_Stop):
        job.perform(job.folder, _Interrupts(steps))
    resumed = job.perform(job.folder, Unwatched())
    assert resumed.measurements["epoch"] == [0, 2, 4, 5]
    assert exact([resumed]) == exact(done[1][1:])


def test_last_measurement_is_of_the_trained_network(done):
    out, (run, _) = done
    pair = class_pair(DIGITS, SMALL.classes)
    net = build_network("dnn", 7, pair.input_shape, width=8, beta=4.0)
    load_model(net, out / "dnn-seed0" / MODEL)
    images, labels = first_of_each(pair.train, 20)
    taken = label_alignment(hard_npk(net, images).numpy(), (2 * labels - 1).numpy())
    assert run.measurements["complexity"][-1] == taken.complexity
    assert run.measurements["alignment"][-1] == taken.alignment
    assert run.measurements["points"] == 40


def test_complexity_falls_on_the_digits(tmp_path):
    settings = dataclasses.replace(
        alignment.SMALL_PRESET, seeds=1, kinds=("dnn",), points=50, every=8
    )
    request = Request(epochs=16, machine=CPU)
    (run,) = run_jobs(alignment.plan_preset(settings, request, DIGITS, tmp_path), tmp_path)
    complexity, cosine = run.measurements["complexity"], run.measurements["alignment"]
    assert complexity[0] > complexity[1] > complexity[2] > 100
    assert cosine[0] < cosine[1] < cosine[2] < 1
    assert run.measurements["rank"] == [100] * 3
    assert run.test_accuracy > 0.9


def test_experiment_keeps_the_random_state(tmp_path):
    before = torch.get_rng_state()
    _jobs(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
