"""A network that does not fit the data is refused before anything is trained, or written."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from dualview.training import SettingsError, TrainSettings, train
from dualview.training.feeding import feed
from dualview.training.fitting import check_network_fits
from tests.training.tiny import tiny_data

DATA = tiny_data()
TWO = replace(DATA, class_names=("a", "b"))
"""Said to have two classes; its labels are not looked at."""
SIZE = DATA.train.images[0].numel()


def flat(*layers):
    return nn.Sequential(nn.Flatten(), *layers)


class Pooled(nn.Module):
    """Ends in `squeeze`, which drops the axis of a batch of one."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(DATA.train.images.shape[2], DATA.n_classes)

    def forward(self, x):
        return self.layer(x.mean(3).squeeze())


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = flat(nn.Linear(SIZE, DATA.n_classes))

    def forward(self, x):
        return self.layer(x + torch.rand_like(x))


@pytest.mark.parametrize("loss", ["cross-entropy", "squared"])
def test_networks_that_fit(loss):
    for net in (flat(nn.Linear(SIZE, DATA.n_classes), nn.Dropout()), Pooled(), Noisy()):
        check_network_fits(feed(net, DATA), DATA, TrainSettings(loss=loss))
        assert net.training
    check_network_fits(feed(flat(nn.Linear(SIZE, DATA.n_classes + 3)), DATA), DATA, TrainSettings())
    check_network_fits(feed(flat(nn.Linear(SIZE, 1)), TWO), TWO, TrainSettings(loss="squared"))


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("64-true", torch.float64),
        ("64", torch.float64),
        (32, torch.float32),
        ("bf16-true", torch.bfloat16),
        ("bf16-mixed", torch.float32),
        ("bf16-mixed", torch.bfloat16),
    ],
)
def test_precisions(precision, dtype):
    net = flat(nn.Linear(SIZE, DATA.n_classes)).to(dtype)
    check_network_fits(feed(net, DATA), DATA, TrainSettings(precision=precision))


def test_random_numbers_are_left_alone(tmp_path):
    net = Noisy()
    before = torch.get_rng_state()
    train(net, DATA, TrainSettings(epochs=1), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


class Pair(nn.Module):
    def forward(self, x):
        return x, x


UNFIT = {
    "other images": (flat(nn.Linear(SIZE + 1, 3)), {}, "does not take this data's images"),
    "no flatten": (nn.Linear(DATA.train.images.shape[-1], 9), {}, r"got shape \(2, .*Flatten"),
    "too few outputs": (flat(nn.Linear(SIZE, 1)), {}, "expected 3 outputs for 3 classes, got 1"),
    "squared": (flat(nn.Linear(SIZE, 4)), {"loss": "squared"}, "loss: expected 3 outputs"),
    "double": (flat(nn.Linear(SIZE, 3)).double(), {}, r"Repair: .*net\.float\(\)"),
    "two outputs": (Pair(), {}, "got tuple"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_networks_that_do_not(tmp_path, case):
    net, options, message = UNFIT[case]
    with pytest.raises(SettingsError, match=message):
        train(net, DATA, TrainSettings(epochs=1, **options), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_output_for_two_classes_needs_the_squared_loss(tmp_path):
    net = flat(nn.Linear(SIZE, 1))
    with pytest.raises(SettingsError, match="expected 2 outputs for 2 classes, got 1"):
        train(net, TWO, TrainSettings(epochs=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()
