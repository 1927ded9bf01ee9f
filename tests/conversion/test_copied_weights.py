"""Properties proved here.

1. With copied weights a DGN with hard gates is the trained model, to rounding; so is each part of a
   DLGN: its weights network has every number of the model, in memory of its own.
2. Both networks start from the model's parameters, and neither shares memory with it or the other;
   what the model had frozen is to be learnt.
3. A model without `reset_parameters` converts, since nothing is drawn; nothing random is used.
4. Dropping what a trained model has learnt is said, where the model shows it and it was not asked
   for; otherwise nothing is said.
5. "dnn" refuses fresh weights.
6. Saved networks say how their weights began, and those saved before they did are read.
"""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.errors import ConversionError, DualviewWarning


def trained() -> nn.Module:
    """A small network that has seen a batch and taken a step, in float64."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 5),
        nn.ReLU(),
        nn.Linear(5, 3),
    ).double()
    model(images()).square().sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.01 * parameter.grad
    return model.eval()


def images() -> torch.Tensor:
    return torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.double)


def test_a_dgn_with_hard_gates_is_the_model():
    model, x = trained(), images()
    net = dv.disentangle(model, "dgn", gate="hard", weights="copied")
    assert torch.allclose(net(x), model(x), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", ["dgn", "dlgn"])
def test_every_number_is_the_models(kind):
    model = trained()
    net = dv.disentangle(model, kind, weights="copied")
    for network in (net.gating_network, net.weights_network):
        own = [tensor for tensor in network.state_dict().values() if tensor.numel() > 1]
        wanted = [tensor for tensor in model.state_dict().values() if tensor.numel() > 1]
        kept = [t for t in own if any(t.shape == w.shape and torch.equal(t, w) for w in wanted)]
        assert len(kept) == len(own) > 4
    places = [p.data_ptr() for p in (*net.parameters(), *model.parameters())]
    assert len(set(places)) == len(places)


def test_frozen_parameters_are_to_be_learnt():
    model = trained().requires_grad_(requires_grad=False)
    net = dv.disentangle(model, "dlgn", weights="copied")
    assert all(parameter.requires_grad for parameter in net.weights_network.parameters())


class Undrawn(nn.Module):
    """A layer that does not know how to draw its parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4))

    def forward(self, x):
        return torch.relu(x @ self.weight.T)


def test_nothing_is_drawn():
    with pytest.raises(ConversionError, match="reset_parameters"):
        dv.disentangle(Undrawn(), "dgn")
    state = torch.random.get_rng_state()
    model, x = Undrawn(), torch.randn(2, 4)
    state = torch.random.get_rng_state()
    net = dv.disentangle(model, "dgn", gate="hard", weights="copied")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(net(x), model(x))


def stepped() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    model(torch.ones(1, 3)).sum().backward()
    return model


def counted() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))
    model(torch.randn(3, 3))
    return model.eval()


@pytest.mark.parametrize("make", [stepped, counted])
@pytest.mark.parametrize("kind", ["dgn", "dlgn"])
def test_dropped_training_is_said(make, kind):
    with pytest.warns(DualviewWarning, match=r"weights='copied' .* or weights='fresh'"):
        dv.disentangle(make(), kind, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dv.disentangle(make(), kind, weights="fresh", seed=0)
        dv.disentangle(make(), kind, weights="copied")
        dv.disentangle(make().eval(), "dnn")
        dv.disentangle(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), kind, seed=0)


def test_own_dual_forms_have_no_fresh_weights():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    with pytest.raises(ConversionError, match="weights='fresh' would change it"):
        dv.disentangle(model, "dnn", weights="fresh")
    dv.disentangle(model, "dnn", weights="copied")
    with pytest.raises(ConversionError, match="weights: expected 'copied' or 'fresh'"):
        dv.disentangle(model, "dgn", weights="kopied")


def test_saved_networks_tell(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    net = dv.disentangle(model, "dlgn", weights="copied").eval()
    net.save_pretrained(tmp_path / "net")
    config = json.loads((tmp_path / "net" / "config.json").read_text())
    assert config["weights"] == "copied"
    again = dv.GatedNetwork.from_pretrained(tmp_path / "net", model=model)
    x = torch.randn(5, 3)
    assert again.recipe.weights == "copied"
    assert torch.equal(again(x), net(x))
    dv.disentangle(model, "dlgn", seed=0).eval().save_pretrained(tmp_path / "plain")
    assert "weights" not in json.loads((tmp_path / "plain" / "config.json").read_text())
