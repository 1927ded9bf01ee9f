"""A network that does not fit the data is refused before anything is trained, or written."""

import pytest
from torch import nn

from dualview.training import SettingsError, TrainSettings, train
from dualview.training.fitting import check_network_fits
from tests.training.tiny import tiny_data

DATA = tiny_data()
SIZE = DATA.train.images[0].numel()


def flat(*layers):
    return nn.Sequential(nn.Flatten(), *layers)


def test_networks_that_fit():
    for outputs in (DATA.n_classes, DATA.n_classes + 3):
        net = flat(nn.Linear(SIZE, outputs), nn.Dropout())
        check_network_fits(net, DATA, "32-true")
        check_network_fits(net.double(), DATA, "64-true")
        assert net.training


class Pair(nn.Module):
    def forward(self, x):
        return x, x


UNFIT = {
    "other images": (flat(nn.Linear(SIZE + 1, DATA.n_classes)), "does not take this data's images"),
    "no flatten": (
        nn.Linear(DATA.train.images.shape[-1], DATA.n_classes),
        r"got shape \(1, .*Flat",
    ),
    "too few outputs": (flat(nn.Linear(SIZE, 1)), rf"expected outputs \(b, {DATA.n_classes}\)"),
    "double": (flat(nn.Linear(SIZE, DATA.n_classes)).double(), r"Repair: .*net\.float\(\)"),
    "two outputs": (Pair(), "got tuple"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_networks_that_do_not(tmp_path, case):
    net, message = UNFIT[case]
    with pytest.raises(SettingsError, match=message):
        train(net, DATA, TrainSettings(epochs=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()
