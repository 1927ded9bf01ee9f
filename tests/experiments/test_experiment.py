"""Properties proved here.

1. A request refuses values that cannot be meant, the nearest choice named.
2. What was asked for takes the place of the preset's training, and nothing else changes.
3. Chosen kinds keep the experiment's order; an unknown one is refused with the nearest.
4. The digits are small; MNIST and CIFAR-10 are not; the cpu preset goes by that, the paper's not.
5. The config of the data tells changed data apart and holds its sizes.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dualview.datasets import Dataset, Split, load
from dualview.experiments.experiment import (
    Machine,
    Request,
    chosen_kinds,
    data_config,
    is_small,
    preset_of,
)
from dualview.training import SettingsError, TrainSettings
from tests.training.tiny import tiny_data


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"preset": "papr"}, "did you mean 'paper'"),
        ({"seeds": 0}, "seeds: expected a whole number from 1 to 10000"),
        ({"epochs": -1}, "epochs: expected"),
        ({"width": 0}, "width: expected"),
        ({"kinds": ()}, "kinds: expected some, each once, got none"),
        ({"kinds": ("dnn", "dnn")}, "each once, got dnn dnn"),
    ],
)
def test_requests_that_cannot_be_meant(values, message):
    with pytest.raises(SettingsError, match=message):
        Request(**values)


def test_training_as_asked_for():
    preset = TrainSettings(epochs=20, learning_rate=1e-4, schedule="constant", threads=1)
    assert Request().applied(preset) == preset
    asked = Request(epochs=3, machine=Machine("cpu", precision="64-true", threads=2))
    changed = {"epochs": 3, "accelerator": "cpu", "precision": "64-true", "threads": 2}
    assert asked.applied(preset) == replace(preset, **changed)
    run = asked.training(preset, 5, 40)
    assert run == replace(preset, **changed, seed=5, batch_size=64)


def test_threads_are_always_told():
    training = Request(machine=Machine("cpu")).training(TrainSettings(), 0, 40)
    assert training.threads == torch.get_num_threads()


def test_chosen_kinds():
    known = ("dnn", "dgn", "dlgn")
    assert chosen_kinds(Request(), known) == known
    assert chosen_kinds(Request(kinds=("dlgn", "dnn")), known) == ("dnn", "dlgn")
    with pytest.raises(SettingsError, match="did you mean 'dlgn'"):
        chosen_kinds(Request(kinds=("dlgm",)), known)


@pytest.mark.parametrize(
    ("shape", "small"), [((54_000, 1, 28, 28), False), ((45_000, 3, 32, 32), False)]
)
def test_large_data(shape, small):
    images = torch.zeros(1, dtype=torch.uint8).expand(shape)
    train = Split(images, torch.zeros(shape[0], dtype=torch.long))
    numbers = (0.5,) * shape[1]
    few = Split(images[:1], torch.zeros(1, dtype=torch.long))
    data = Dataset(train, few, few, ("a",), mean=numbers, std=numbers, description="zeros")
    assert is_small(data) is small
    assert preset_of(Request(), data, "paper", "small", "large") == "large"
    assert preset_of(Request(preset="paper"), data, "paper", "small", "large") == "paper"


def test_digits_are_small():
    digits = load("digits")
    assert is_small(digits)
    assert preset_of(Request(), digits, "paper", "small", "large") == "small"
    assert preset_of(Request(preset="paper"), digits, "paper", "small", "large") == "paper"


def test_config_of_the_data():
    config = data_config(tiny_data())
    assert (config["n_train"], config["n_validation"], config["n_test"]) == (40, 12, 12)
    assert config["data"] == "stripes"
    assert config != data_config(tiny_data(seed=1))
    assert config == data_config(tiny_data())
