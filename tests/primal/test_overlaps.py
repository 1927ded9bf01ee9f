"""Properties proved here.

1. The overlap is the mean of <G, G0> / (|G| |G0|) over examples, by a loop, for every kind of
   network and any batch size; symmetric, and exactly 1 for the network itself.
2. Examples of which no gate is on in either network overlap by 1, in one of them only by 0.
3. Measured while a network trains, it begins at 1 and makes the figure.
4. Gates are those in evaluation mode, and modes come back.
5. No examples, values that are not finite and networks of other layers are refused.
"""

import copy
import math

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.architectures import c4gap
from dualview.datasets import load
from dualview.errors import PrimalFilterError
from dualview.primal.figures.gates import gate_training
from dualview.primal.overlaps import initial_overlap
from dualview.training import TrainSettings, train
from tests.cases import small_architecture, small_input


def pair(kind):
    example = small_input("c4gap", 1) if kind == "dlgn-sf" else None
    return [
        dv.disentangle(
            small_architecture("c4gap", batch_norm=True), kind, seed=seed, example_input=example
        ).eval()
        for seed in range(2)
    ]


@pytest.mark.parametrize("kind", ["dnn", "dgn", "dlgn", "dlgn-sf"])
@pytest.mark.parametrize("size", [2, 100])
def test_means_over_examples(kind, size):
    (net, initial), x = pair(kind), small_input("c4gap", 5)
    found = initial_overlap(net, initial, x, batch_size=size)
    for layer, overlap in enumerate(found):
        values = []
        for example in x.split(1):
            one, other = (n.preactivations(example)[layer].flatten() > 0 for n in (net, initial))
            both = sum(a and b for a, b in zip(one.tolist(), other.tolist(), strict=True))
            values.append(both / math.sqrt(int(one.sum()) * int(other.sum())))
        assert overlap == pytest.approx(sum(values) / len(values), rel=1e-12)
    assert initial_overlap(initial, net, x) == pytest.approx(found, rel=1e-12)
    assert initial_overlap(net, copy.deepcopy(net), x) == pytest.approx([1.0] * len(found))


def test_layers_without_an_open_gate():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1))
    net = dv.disentangle(model, "dlgn", seed=0)
    other = copy.deepcopy(net)
    with torch.no_grad():
        net.gating_network.get_submodule("0").weight.fill_(1.0)
        other.gating_network.get_submodule("0").weight.fill_(-1.0)
    x = torch.tensor([[1.0], [-1.0], [0.0]])  # on in one, on in the other, on in neither
    assert initial_overlap(net, other, x) == (1 / 3,)


def test_measured_in_training_makes_the_figure(tmp_path):
    data = load("digits")
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    transform = dv.InputTransform(data.mean, data.std)
    net = dv.disentangle(model, "dlgn", seed=0, input_transform=transform)
    initial, x = copy.deepcopy(net), data.train.pixels[:50]

    def measure(net, epochs_done):
        return list(initial_overlap(net, initial, x))

    settings = TrainSettings(epochs=2, batch_size=128, learning_rate=0.05, tensorboard=False)
    measured = train(net, data, settings, tmp_path, measure=measure).measurements
    assert len(measured) == 3
    assert measured[0] == pytest.approx([1.0])
    assert measured[-1][0] < 1
    (line,) = gate_training(measured).axes[0].lines
    assert list(line.get_ydata()) == [row[0] for row in measured]


def test_modes_come_back():
    (net, initial), x = pair("dlgn"), small_input("c4gap", 4)
    found = initial_overlap(net, initial, x)
    assert initial_overlap(net.train(), initial.train(), x) == found
    assert net.training
    assert initial.training


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(0, 3, 6, 5).double(), r"with examples on axis 0, got .* \(0, 3, 6, 5\)"),
        (torch.full((1, 3, 6, 5), float("nan")).double(), "finite values, got NaN or inf in row 0"),
    ],
)
def test_wrong_examples(x, message):
    with pytest.raises(PrimalFilterError, match=message):
        initial_overlap(*pair("dlgn"), x)


def test_other_layers():
    net, _ = pair("dlgn")
    other = dv.disentangle(c4gap(3, (3, 6, 5), width=5).double(), "dlgn", seed=0)
    with pytest.raises(PrimalFilterError, match=r"expected the same layers.*deepcopy\(net\)"):
        initial_overlap(net, other, small_input("c4gap", 1))
