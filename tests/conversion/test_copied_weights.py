"""What the weights network starts from.

- "copied" is the model's own parameters and statistics, in memory of its own, to be learned, for
  every kind that has a choice: a hard DGN of it is the model to the last bit, a DLGN's weights
  network is the model's. "fresh" is the draw that it always was, the default.
- A model that looks trained, by its batch norms, gradients or numbers, is warned of where nothing
  says what is meant; a fresh one never is, whatever its law, and neither where it is said.
- Where there is no choice, and beside options that draw, it is refused.
- It is kept by `save_pretrained`, and `compare` takes it.
"""

import copy
import warnings

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.architectures import ARCHITECTURES
from dualview.conversion.initialisation import FEWEST
from dualview.datasets import load
from dualview.errors import ConversionError, DroppedWeightsWarning
from dualview.experiments.networks import build_network
from dualview.experiments.settings import ComparisonSettings
from dualview.training import SettingsError
from tests.cases import DLGN_ARCHITECTURES, SMALL

KINDS = ("dgn", "dlgn", "dlgn-sf")


def chain(dtype=torch.float64):
    layers = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 6)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(6, 2)).to(dtype)


def trained():
    model = chain()
    for _ in range(3):
        model(torch.randn(8, 2, 4, 4).double())
    return model.eval()


X = torch.randn(5, 2, 4, 4, dtype=torch.float64)


def test_a_hard_dgn_is_the_model():
    model = trained()
    net = dv.disentangle(model, "dgn", gate="hard", weights="copied")
    assert torch.equal(net(X), model(X))


@pytest.mark.parametrize("kind", KINDS)
def test_copies(kind):
    model = trained().requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    net = dv.disentangle(model, kind, weights="copied", example_input=X, seed=0)
    state = net.weights_network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in before.items())
    assert all(p.requires_grad for p in net.weights_network.parameters())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_gates_and_weights_are_apart():
    net = dv.disentangle(trained(), "dlgn", weights="copied")
    gating = {p.data_ptr() for p in net.gating_network.parameters()}
    assert not gating & {p.data_ptr() for p in net.weights_network.parameters()}


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_is_the_default(kind):
    one, other = (
        dv.disentangle(chain(), kind, example_input=X, seed=0, **more).weights_network
        for more in ({}, {"weights": "fresh"})
    )
    # The model differs, the draw does not.
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def by_statistics(model):
    model.train()(torch.randn(8, 2, 4, 4).double())


def by_gradients(model):
    model(X).sum().backward()


def by_biases(model):
    nn.init.constant_(model[1].weight, 1.5)


SIGNS = {by_statistics: "batch", by_gradients: "gradient", by_biases: "no fresh draw"}


@pytest.mark.parametrize("change", SIGNS)
@pytest.mark.parametrize("kind", ["dgn", "dlgn"])
def test_a_trained_model_is_warned_of(change, kind):
    model = chain().eval()
    change(model)
    with pytest.warns(DroppedWeightsWarning, match=rf"{SIGNS[change]}.*weights='copied'"):
        dv.disentangle(model, kind, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dv.disentangle(model, "dnn")
        for said in ({"weights": "fresh"}, {"weights": "copied"}, {"initialise": redraw}):
            dv.disentangle(model, kind, **said)


def redraw(network):
    for parameter in network.parameters():
        nn.init.normal_(parameter)


def test_by_its_numbers():
    model = nn.Sequential(nn.Linear(80, 80), nn.ReLU(), nn.Linear(80, 2))
    assert model[0].weight.numel() >= FEWEST
    target = torch.randn(200, 2)
    x, optimiser = torch.randn(200, 80), torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(20):
        optimiser.zero_grad(set_to_none=True)
        (model(x) - target).square().mean().backward()
        optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    again = nn.Sequential(nn.Linear(80, 80), nn.ReLU(), nn.Linear(80, 2))
    again.load_state_dict(model.state_dict())  # as from a file
    with pytest.warns(DroppedWeightsWarning, match="'0.weight' is no fresh draw"):
        dv.disentangle(again, "dlgn")


@pytest.mark.parametrize("name", DLGN_ARCHITECTURES)
def test_a_fresh_model_is_not(name):
    width, shape = SMALL[name]
    for _ in range(3):
        model = ARCHITECTURES[name](3, shape, width)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dv.disentangle(model, "dlgn")


@pytest.mark.parametrize("seed", range(20))
def test_nor_is_a_large_one(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(70, 70), nn.ReLU(), nn.Linear(70, 70), nn.ReLU())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dv.disentangle(model, "dgn")


@pytest.mark.parametrize("layer", [nn.Linear(4, 1), nn.Conv1d(4, 1, 1), nn.PReLU()])
def test_nor_is_one_with_a_layer_of_one_number(layer):
    """A bias of one number, as networks of one output have it, has no range to be in."""
    last = layer if isinstance(layer, nn.Conv1d) else nn.Sequential(layer, nn.Flatten())
    model = nn.Sequential(nn.Conv1d(3, 4, 2), nn.ReLU(), last)
    layer.reset_parameters()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dv.disentangle(model, "dlgn", example_input=torch.randn(1, 3, 5))


@pytest.mark.parametrize("weights", ["copied", "fresh"])
def test_no_choice_for_a_dnn(weights):
    with pytest.raises(ConversionError, match=r"weights: expected none for kind='dnn'"):
        dv.disentangle(chain(), "dnn", weights=weights)


def test_nothing_is_drawn():
    with pytest.raises(ConversionError, match="initialise: expected none beside weights='copied'"):
        dv.disentangle(chain(), "dgn", weights="copied", initialise=redraw)
    dv.disentangle(chain(), "dlgn-sf", weights="copied", initialise=redraw, example_input=X)
    with pytest.raises(ConversionError, match="weights: expected"):
        dv.disentangle(chain(), "dgn", weights="kept")


def test_without_a_way_to_draw():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.scale = nn.Linear(3, 4), nn.Parameter(torch.ones(4) * 2)

        def forward(self, x):
            return torch.relu(self.a(x)) * self.scale

    model, x = Scaled(), torch.randn(2, 3)
    net = dv.disentangle(model, "dgn", gate="hard", weights="copied")
    torch.testing.assert_close(net(x), model(x))


@pytest.mark.parametrize("kind", KINDS)
def test_saved(kind, tmp_path):
    net = dv.disentangle(trained(), kind, weights="copied", example_input=X, seed=0)
    net.save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = dv.GatedNetwork.from_pretrained(tmp_path, model=trained())
    assert torch.equal(again(X), net(X))
    assert again.recipe.weights == "copied"
    assert "a copy of the model's" in (tmp_path / "README.md").read_text()


def test_compared():
    data = load("digits")
    settings = ComparisonSettings(width=6, weights="copied")
    net = build_network(settings, "dlgn", 0, data)
    plain = build_network(settings, "dnn", 0, data)
    pairs = zip(net.weights_network.parameters(), plain.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    with pytest.raises(SettingsError, match="weights"):
        ComparisonSettings(weights="kept")
