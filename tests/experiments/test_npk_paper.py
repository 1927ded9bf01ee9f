"""What the experiments of arXiv 2006.10529 share.

- Data is as the paper's networks see it: pixels over 255; all of the train split, where asked for,
  is the train and the validation split of before, in order.
- A seed draws one network whatever else is random, and leaves the random state alone.
- Frozen gates are those of the model, hard, and weights are another draw: the same one whatever the
  model; both modes leave the gating network in evaluation mode, and only weights want gradients.
- A model that is missing, damaged or another network's is refused with the repair.
- A setting that cannot be built is refused as such.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dualview.architectures import build
from dualview.conversion.parameters import save_parameters
from dualview.datasets import Batches
from dualview.errors import RunError
from dualview.experiments.npk_paper import (
    RegimeSetting,
    all_for_training,
    drawn,
    frozen_gates,
    load_trained,
    unnormalised,
)
from dualview.training import SettingsError, TrainSettings
from tests.training.tiny import tiny_data

DATA = unnormalised(tiny_data())
SETTING = RegimeSetting(
    experiment="regimes",
    arch="fc",
    width=4,
    data=DATA,
    validate=True,
    training=lambda seed: TrainSettings(epochs=1, seed=seed),
    seeds=1,
)


def test_pixels_are_divided_and_nothing_else():
    x, _ = next(iter(Batches(DATA.test, 5, mean=DATA.mean, std=DATA.std)))
    images = DATA.test.images[:5]
    scale = 255 if images.dtype == torch.uint8 else 1
    torch.testing.assert_close(x, images.float() / scale)


def test_all_of_the_train_split():
    data = tiny_data()
    both = all_for_training(data)
    n = len(data.train)
    assert torch.equal(both.train.images[:n], data.train.images)
    assert torch.equal(both.train.images[n:], data.validation.images)
    assert torch.equal(both.train.labels[n:], data.validation.labels)
    assert both.validation is data.validation
    assert both.test is data.test


def test_a_seed_draws_one_network():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = drawn(SETTING.draw, 3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    second, other = drawn(SETTING.draw, 3).state_dict(), drawn(SETTING.draw, 4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["1.weight"], other["1.weight"])


def test_frozen_gates():
    x = torch.rand(6, *DATA.input_shape)
    models = [drawn(SETTING.draw, seed) for seed in (1, 2)]
    nets = [frozen_gates(model, 7) for model in models]
    for model, net in zip(models, nets, strict=True):
        hidden = model[1](model[0](x))
        assert torch.equal(net.gates(x)[0], (hidden > 0).to(hidden.dtype))
        for mode in (True, False):
            assert net.train(mode).weights_network.training is mode
            assert not net.gating_network.training
        wanted = {name for name, p in net.named_parameters() if p.requires_grad}
        assert wanted == {f"weights_network.{name}" for name, _ in model.named_parameters()}
    weights = [net.weights_network.state_dict() for net in nets]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("content", [None, b"no", "gconv"])
def test_refused_models(tmp_path, content):
    path = tmp_path / "model.safetensors"
    if content == "gconv":
        save_parameters(build("gconv", num_classes=3, input_shape=(1, 6, 6), width=4), path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"expected the parameters .*delete that run's folder"):
        load_trained(SETTING.draw(), path)


def test_what_cannot_be_built():
    with pytest.raises(SettingsError, match="architecture: expected one of"):
        replace(SETTING, arch="fcc").draw()
