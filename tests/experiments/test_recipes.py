"""Properties proved here.

1. Every architecture has a recipe in each preset, and its network is built with it.
2. The paper preset has the papers' settings.
3. What was asked for takes the place of the recipe's.
4. Grey images are never mirrored; colour ones are where the recipe says so.
5. VGG-16 and C6WHITE get images that they can halve often enough; others get theirs as they are.
"""

from __future__ import annotations

import pytest
import torch

from dualview.datasets import Dataset, Split
from dualview.experiments import experiment, recipes
from dualview.experiments.experiment import Machine, Request
from dualview.experiments.naming import ARCHITECTURE_NAMES
from dualview.experiments.networks import build_network
from dualview.experiments.recipes import setting
from dualview.training import SettingsError
from tests.experiments.reproduced import few_digits

DIGITS = few_digits(12)


def colour(n: int = 6) -> Dataset:
    split = Split(torch.zeros(n, 3, 32, 32, dtype=torch.uint8), torch.arange(n) % 2)
    return Dataset(split, split, split, ("a", "b"), (0.5,) * 3, (0.5,) * 3, "black")


RECIPES = [("cpu", arch) for arch in recipes.SMALL_RECIPES] + [
    ("paper", arch) for arch in recipes.PAPER_RECIPES
]


@pytest.mark.parametrize(("preset", "arch"), RECIPES)
def test_every_recipe_is_built(preset, arch, monkeypatch):
    one = setting("trial", arch, Request(preset=preset, width=4), DIGITS)
    assert one.comparison.experiment == "trial"
    assert build_network(one.comparison, "dnn", 0, one.data) is not None
    halves_often = arch in ("vgg16", "c6white", "c6late")
    assert min(one.data.input_shape[1:]) >= (16 if halves_often else 8)
    assert one.enlarged == (2 if halves_often else 1)


@pytest.mark.parametrize("arch", recipes.LARGE_RECIPES)
def test_every_recipe_on_large_data(arch, monkeypatch):
    monkeypatch.setattr(experiment, "is_small", lambda data: False)
    assert setting("trial", arch, Request(width=2), DIGITS).scale > 0


def test_precision_on_large_data(monkeypatch):
    monkeypatch.setattr(experiment, "is_small", lambda data: False)
    for arch in recipes.LARGE_RECIPES:
        assert setting("trial", arch, Request(), DIGITS).comparison.training.precision == "auto"
    asked = Request(machine=Machine(precision="32-true"))
    assert setting("trial", "c4gap", asked, DIGITS).comparison.training.precision == "32-true"


@pytest.mark.parametrize("request_", [Request(preset="paper"), Request()], ids=["paper", "large"])
def test_no_recipe_in_this_preset(request_, monkeypatch):
    monkeypatch.setattr(experiment, "is_small", lambda data: False)
    with pytest.raises(SettingsError, match=r"arch: expected one of fc, c4gap, .*got 'vit'"):
        setting("trial", "vit", request_, DIGITS)


def test_names():
    assert set(ARCHITECTURE_NAMES) >= set(recipes.SMALL_RECIPES)
    assert set(ARCHITECTURE_NAMES) >= {*recipes.LARGE_RECIPES, *recipes.PAPER_RECIPES}


def test_the_papers_settings():
    request = Request(preset="paper")
    chain = setting("trial", "c4gap", request, colour()).comparison
    assert (chain.width, chain.batch_norm, chain.beta) == (128, False, 4.0)
    training = chain.training
    assert (training.optimizer, training.learning_rate, training.epochs) == ("adam", 3e-4, 32)
    assert (training.batch_size, training.schedule, training.flip) == (128, "constant", False)
    for arch, width in (("vgg16", 64), ("resnet110", 16)):
        one = setting("trial", arch, request, colour()).comparison
        assert (one.width, one.batch_norm, one.beta) == (width, True, 10.0)
        training = one.training
        assert (training.optimizer, training.learning_rate) == ("sgd", 0.1)
        assert (training.momentum, training.weight_decay) == (0.9, 2.5e-4)
        assert (training.schedule, training.flip, training.crop) == ("steps", True, 4)
        steps = training.epochs * -(-45_000 // training.batch_size)
        assert abs(steps - 64_000) < -(-45_000 // 128)
    assert setting("trial", "vgg16", request, colour()).comparison.max_pool == "average"


def test_what_was_asked_for():
    request = Request(
        width=5, seeds=7, epochs=9, machine=Machine("cpu", precision="64-true", threads=2)
    )
    one = setting("trial", "c4gap", request, DIGITS).comparison
    assert (one.width, one.seeds, one.training.epochs) == (5, 7, 9)
    assert (one.training.precision, one.training.threads) == ("64-true", 2)
    with pytest.raises(SettingsError, match="did you mean 'c4gap'"):
        setting("trial", "c4gep", request, DIGITS)


def test_augmentation(monkeypatch):
    monkeypatch.setattr(experiment, "is_small", lambda data: False)
    assert setting("trial", "c4gap", Request(), colour()).comparison.training.flip
    assert not setting("trial", "c4gap", Request(), DIGITS).comparison.training.flip
