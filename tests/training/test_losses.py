"""Properties proved here.

1. There is one loss for each name in the settings.
2. The squared loss is the mean over examples and outputs, written out number by number; a single
   output is drawn to -1 and +1.
3. Outputs that fit no classes are refused, saying how many are needed.
4. Smoothed labels are shared out over the classes, in the training loss alone.
5. The prediction is the highest output, or the sign of a single one; 0 is the first class.
6. A network with one output learns two classes under the squared loss, and the curve's loss and
   accuracy are those of its outputs.
"""

from dataclasses import replace

import pytest
import torch
from torch import nn

from dualview.datasets import Batches, Dataset, Split
from dualview.training import LOSSES, SettingsError, TrainSettings, train
from dualview.training.losses import LOSS_FUNCTIONS, predictions, squared
from tests.training.tiny import tiny_data


def test_every_name_has_a_loss():
    assert set(LOSS_FUNCTIONS) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_means_over_examples(name):
    outputs, labels = torch.randn(6, 3).double(), torch.tensor([0, 1, 2, 2, 1, 0])
    function = LOSS_FUNCTIONS[name]
    single = [function(outputs[i : i + 1], labels[i : i + 1], 3) for i in range(6)]
    torch.testing.assert_close(function(outputs, labels, 3), torch.stack(single).mean())


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_smoothed_labels_written_out(share):
    outputs, labels = torch.randn(5, 4).double(), torch.tensor([0, 3, 1, 2, 2])
    aims = (1 - share) * torch.eye(4).double()[labels] + share / 4
    expected = -(aims * outputs.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(LOSS_FUNCTIONS["cross-entropy"](outputs, labels, 4, share), expected)


def test_labels_are_smoothed_in_training_alone(tmp_path):
    data, net = tiny_data(), nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    settings = TrainSettings(epochs=1, optimizer="sgd", learning_rate=1e-12, label_smoothing=0.5)
    settings = replace(settings, accelerator="cpu", tensorboard=False)
    (epoch,) = train(net, data, settings, tmp_path).curve
    for split, loss, share in ((data.train, "train", 0.5), (data.test, "test", 0.0)):
        ((images, labels),) = Batches(split, len(split), mean=data.mean, std=data.std)
        expected = LOSS_FUNCTIONS["cross-entropy"](net(images).detach(), labels, 3, share)
        assert getattr(epoch, f"{loss}_loss") == pytest.approx(expected.item(), rel=1e-4)


def test_squared_written_out():
    outputs = [[0.5, 2.0, -1.0], [0.0, 0.25, 3.0]]
    wanted = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    terms = [
        (a - b) ** 2
        for row, aim in zip(outputs, wanted, strict=True)
        for a, b in zip(row, aim, strict=True)
    ]
    loss = squared(torch.tensor(outputs), torch.tensor([2, 0]), 3)
    assert loss.item() == pytest.approx(sum(terms) / 6)


def test_squared_of_a_single_output():
    loss = squared(torch.tensor([[0.5], [0.5]]), torch.tensor([0, 1]), 2)
    assert loss.item() == pytest.approx((1.5**2 + 0.5**2) / 2)


@pytest.mark.parametrize(("outputs", "classes"), [(1, 3), (3, 2), (2, 3)])
def test_outputs_that_fit_no_classes(outputs, classes):
    with pytest.raises(SettingsError, match=rf"expected {classes} outputs .* got {outputs} "):
        squared(torch.zeros(4, outputs), torch.zeros(4, dtype=torch.long), classes)


def test_predictions():
    assert predictions(torch.tensor([[-0.5], [0.0], [0.5]])).tolist() == [0, 0, 1]
    assert predictions(torch.tensor([[1.0, 2.0], [2.0, 1.0]])).tolist() == [1, 0]


def _two_classes():
    data = tiny_data(n_train=90, n_other=30)
    splits = {}
    for name in ("train", "validation", "test"):
        split = getattr(data, name)
        keep = split.labels < 2
        splits[name] = Split(split.images[keep], split.labels[keep])
    return Dataset(
        **splits, class_names=("a", "b"), mean=data.mean, std=data.std, description="two"
    )


def test_one_output_learns_two_classes(tmp_path):
    data, net = _two_classes(), nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    settings = TrainSettings(
        epochs=20, batch_size=8, loss="squared", optimizer="rmsprop", learning_rate=0.01
    )
    settings = replace(settings, accelerator="cpu", tensorboard=False)
    result = train(net, data, settings, tmp_path)
    assert result.test_accuracy > 0.8  # chance is 1/2
    ((images, labels),) = Batches(data.test, 100, mean=data.mean, std=data.std)
    outputs = net(images).detach()[:, 0]
    signs = torch.where(labels == 1, 1.0, -1.0)
    assert result.curve[-1].test_loss == pytest.approx(((outputs - signs) ** 2).mean().item())
    assert result.test_accuracy == pytest.approx((outputs * signs > 0).float().mean().item())


def test_three_classes_refuse_one_output(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    with pytest.raises(SettingsError, match="expected 3 outputs"):
        train(net, tiny_data(), TrainSettings(epochs=1, loss="squared"), tmp_path)
