"""Properties proved here.

1. The slope grows by the same factor from epoch to epoch, from first to last.
2. The loss is share * T^2 KL(teacher || learner) + (1 - share) * labels + gates, by the definition.
3. A network with the teacher's own gates and weights has no distance from it, and its gate loss
   falls to 0 as the slope grows.
4. `distil` leaves the model as it was, ends with hard gates of the same parameters, and its
   accuracies are those of the networks it names.
5. An interrupted run ends in the numbers of an uninterrupted one; another teacher's settings are
   refused.
6. The teacher sees the images as the model expects them, whatever transform that is.
7. Values that cannot be meant are refused.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.errors import RunError
from dualview.training import SettingsError, TrainSettings, train
from dualview.training.accuracy import accuracy
from dualview.training.distil_settings import DistilSettings
from dualview.training.teacher import Teacher, distance, gate_loss, slope
from tests.training.tiny import tiny_data

DATA = tiny_data()
SETTINGS = TrainSettings(epochs=3, batch_size=8, threads=1, accelerator="cpu", tensorboard=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )
    settings = TrainSettings(
        epochs=12, batch_size=8, threads=1, accelerator="cpu", tensorboard=False
    )
    train(net, DATA, settings, tmp_path_factory.mktemp("model"))
    return net.eval()


def test_slopes():
    found = [slope(4.0, 64.0, epoch, 5) for epoch in range(5)]
    assert found == pytest.approx([4, 8, 16, 32, 64])
    assert slope(4.0, 64.0, 0, 1) == 64.0
    assert [slope(4.0, None, epoch, 3) for epoch in range(3)] == [4.0] * 3


def test_distance_by_the_definition():
    learnt, taught = torch.randn(5, 3).double(), torch.randn(5, 3).double()
    p, q = ((v / 3.0).softmax(1) for v in (taught, learnt))
    wanted = 9.0 * (p * (p.log() - q.log())).sum(1).mean()
    assert float(distance(learnt, taught, 3.0)) == pytest.approx(float(wanted), rel=1e-5)


def test_gate_loss_by_the_definition():
    q, t = torch.randn(5, 3), torch.randn(5, 3)
    g = torch.sigmoid(4 * q)
    wanted = -torch.where(t > 0, g.log(), (1 - g).log()).mean()
    assert float(gate_loss((q, q), (t, t), 4.0)) == pytest.approx(2 * float(wanted), rel=1e-5)
    losses = [float(gate_loss((t,), (t,), beta)) for beta in (1.0, 100.0, 1e6)]
    assert losses[0] > losses[1] > losses[2]
    assert losses[2] < 1e-3


@pytest.mark.parametrize("fitting", [False, True])
def test_the_loss(model, fitting):
    own, student = dv.disentangle(model, "dnn"), dv.disentangle(model, "dlgn", weights="copied")
    teacher = Teacher(own, DistilSettings(share=0.25, temperature=2.0), beta=4.0)
    x = torch.randn(6, 1, 4, 4)
    with torch.no_grad():
        logits, taught = student(x), model(x)
    of_labels = torch.tensor(2.0)
    wanted = 0.25 * distance(logits, taught, 2.0) + 0.75 * 2.0
    if fitting:
        wanted = wanted + gate_loss(student.preactivations(x), own.preactivations(x), 4.0)
    found = teacher.loss(student, x, logits, of_labels, fitting=fitting)
    assert torch.allclose(found, wanted, rtol=1e-6)
    assert float(distance(own(x).detach(), taught, 2.0)) < 1e-6


def test_when_gates_are_fitted():
    teacher = Teacher.__new__(Teacher)
    teacher.settings = DistilSettings(fitting=0.5)
    assert [teacher.fits_gates(epoch, 4) for epoch in range(4)] == [True, True, False, False]


def distilled(model, folder, **changes):
    options = {"settings": SETTINGS, "folder": folder, **changes}
    return dv.distil(model, DATA, **options)


def test_what_comes_out(model, tmp_path):
    before = copy.deepcopy(model.state_dict())
    hard = distilled(model, tmp_path / "a")
    soft = distilled(model, tmp_path / "a", hard=False)  # nothing is left to train
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert hard.network.kind == soft.network.kind == "dlgn"
    assert all(isinstance(gate, dv.HardGate) for gate in hard.network.gate_functions)
    assert all(gate.beta == pytest.approx(400.0) for gate in soft.network.gate_functions)
    for name, value in hard.network.state_dict().items():
        assert torch.equal(value, soft.network.state_dict()[name])
    assert hard.hard_accuracy == soft.hard_accuracy == accuracy(hard.network, DATA)
    assert hard.soft_accuracy == soft.soft_accuracy == accuracy(soft.network, DATA)
    assert hard.teacher_accuracy == accuracy(model, DATA)
    assert hard.recovered == hard.hard_accuracy / hard.teacher_accuracy
    copied = dv.disentangle(
        model, "dlgn", weights="copied", input_transform=hard.network.input_transform
    ).eval()
    assert hard.copied_accuracy == accuracy(copied, DATA)
    assert len(hard.result.curve) == SETTINGS.epochs


class StopError(Exception):
    """Raised to interrupt a run."""


class Interrupting:
    """A watcher that stops the run after its first epoch."""

    def started(self, epochs_done, epochs, steps_per_epoch):
        pass

    def stepped(self):
        pass

    def epoch_done(self, metrics):
        raise StopError


def test_interrupted_runs_go_on(model, tmp_path):
    teaching = DistilSettings(fitting=0.4, final_beta=40.0)
    whole = distilled(model, tmp_path / "whole", teaching=teaching)
    with pytest.raises(StopError):
        distilled(model, tmp_path / "cut", teaching=teaching, watcher=Interrupting())
    with pytest.raises(RunError, match="temperature"):
        distilled(model, tmp_path / "cut", teaching=DistilSettings(temperature=9.0))
    cut = distilled(model, tmp_path / "cut", teaching=teaching)
    losses = [[epoch.train_loss for epoch in run.result.curve] for run in (whole, cut)]
    assert losses[0] == losses[1]
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, cut.network.state_dict()[name])


def test_transforms_of_the_models_own(model, tmp_path):
    plain = distilled(model, tmp_path / "plain")
    transform = dv.InputTransform(DATA.mean, DATA.std)
    for number, (net, options) in enumerate(
        [
            (nn.Sequential(transform, model), {}),
            (model, {"input_transform": transform}),
        ]
    ):
        same = distilled(net, tmp_path / str(number), **options)
        assert same.teacher_accuracy == plain.teacher_accuracy
        assert same.hard_accuracy == plain.hard_accuracy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "dnn"}, "kind: expected"),
        ({"beta": 0.0}, "beta: expected"),
        ({"teaching": 3}, "teaching: expected"),
        ({"model": 3}, "model: expected"),
    ],
)
def test_values_that_cannot_be_meant(model, tmp_path, change, message):
    options = {"model": model, "data": DATA, "folder": tmp_path, **change}
    with pytest.raises(SettingsError, match=message):
        dv.distil(options.pop("model"), options.pop("data"), **options)


@pytest.mark.parametrize("name", ["share", "temperature", "fitting", "final_beta"])
def test_settings_that_cannot_be_meant(name):
    with pytest.raises(SettingsError, match=f"{name}: expected"):
        DistilSettings(**{name: -1})
