"""Distances to the bends of gates in a network whose gates have no one hyperplane.

- They are q / |dq / dx| of autograd's Jacobian at the example, for every kind of network that is
  piecewise linear, all gates or chosen ones, whatever the memory, in the network's type.
- They are local, and right as far as the region reaches: the nearest of all gates, gone to along
  its own normal, is at 0, and no gate has switched before.
- Of the first layer they are those of a DLGN, whose gates have one hyperplane.
- Many gates of an image share passes, for each example those that read nothing in common; how many
  passes there are is told, and beforehand if they take long.
- A gate that does not depend on the input is infinitely far. What bends everywhere is refused.
"""

from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from torch import nn

import dualview as dv
from dualview.errors import PrimalFilterError
from dualview.primal import norms
from dualview.progress import Unseen
from tests.cases import enliven
from tests.random_networks import Features, random_networks

D = torch.float64
PIECEWISE = ("nn.ReLU()", "nn.LeakyReLU(0.3)", "nn.PReLU()", "nn.ReLU6()")


def chain():
    layers = [nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)]
    return enliven(nn.Sequential(*layers).double())


def convolutional():
    layers = [nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 3, 2), nn.ReLU()]
    return enliven(nn.Sequential(*layers, nn.Flatten(), nn.Linear(3, 2)).double())


def by_autograd(net, x, layer):
    rows = []
    for one in x.split(1):
        q = net.preactivations(one)[layer][0]
        slopes = torch.func.jacrev(lambda z: net.preactivations(z)[layer][0])(one)
        norm = slopes.flatten(q.dim()).norm(dim=-1)
        rows.append(torch.where(q == 0, q, q / norm))
    return torch.stack(rows).detach()


@settings(max_examples=20)
@given(random_networks(Features(activations=PIECEWISE, size=5, steps=4)))
def test_against_autograd(model):
    net = dv.disentangle(model, "dnn").eval()
    x = torch.randn(2, *model.input_shape, dtype=D)
    for layer in range(net.n_gates):
        expected = by_autograd(net, x, layer)
        found = dv.gate_distances(net, x, layer)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("memory", [1, 1e9])
@pytest.mark.parametrize("kind", ["dnn", "dgn"])
def test_chosen_gates(kind, memory):
    net = dv.disentangle(convolutional(), kind).eval()
    x = torch.randn(3, 1, 6, 6, dtype=D)
    every = dv.gate_distances(net, x, 0, memory=memory)
    assert every.shape == (3, 2, 4, 4)
    some = dv.gate_distances(net, x, 0, channels=[1], positions=[(0, 3), (2, 2)], memory=memory)
    torch.testing.assert_close(
        some, torch.stack([every[:, 1, 0, 3], every[:, 1, 2, 2]], 1)[:, None]
    )
    dense = dv.disentangle(chain(), kind).eval()
    x = torch.randn(3, 4, dtype=D)
    torch.testing.assert_close(
        dv.gate_distances(dense, x, 1, channels=[4, 0]), by_autograd(dense, x, 1)[:, [4, 0]]
    )


class Told(Unseen):
    """Notes titles, totals and what is done."""

    def __init__(self):
        self.counts = []

    @contextmanager
    def counting(self, total, title, *, unit, **options):
        self.counts.append([title, total, 0])

        def advance(more):
            self.counts[-1][2] += more

        yield advance


@pytest.mark.parametrize("kind", ["dnn", "dlgn"])
def test_gates_share_passes(kind, monkeypatch):
    groups = nn.Conv2d(4, 4, 3, 2, 1, groups=4), nn.ChannelShuffle(2), nn.Conv2d(4, 6, 1, groups=2)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), *groups, nn.ReLU())
    net = dv.disentangle(enliven(model.double()), kind).eval()
    x, told = torch.randn(2, 1, 36, 36, dtype=D), Told()
    found = dv.gate_distances(net, x, 1, channels=[5, 2], progress=told)
    expected = by_autograd(net, x, 1)[:, [5, 2]].flatten(2)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert len(told.counts) == (2 if kind == "dnn" else 1)
    assert all(total == done < 40 for _, total, done in told.counts)  # of 162 gates
    monkeypatch.setattr(norms, "LONG", 0.0)
    with pytest.warns(dv.DualviewWarning, match=r"layer 1: .* passes through the network"):
        dv.gate_distances(net, x, 1)


def test_the_nearest_gate_is_there():
    net = dv.disentangle(chain(), "dnn").eval()
    for x in torch.randn(8, 1, 4, dtype=D):
        distances = [dv.gate_distances(net, x, layer)[0] for layer in range(net.n_gates)]
        layer = min(range(net.n_gates), key=lambda k: float(distances[k].abs().min()))
        unit = int(distances[layer].abs().argmin())
        slope = torch.func.jacrev(lambda z, k=layer, u=unit: net.preactivations(z)[k][0, u])(x)
        step = -distances[layer][unit] * slope / slope.norm()
        there = net.preactivations(x + step)[layer][0, unit]
        assert abs(float(there.detach())) < 1e-12
        nearly = net.gates(x + 0.999999 * step)
        assert all(torch.equal(a > 0, b > 0) for a, b in zip(nearly, net.gates(x), strict=True))
        crossings = dv.gate_crossings(net, x, x + 2 * step).crossings
        assert crossings[0].position == pytest.approx(0.5)
        assert (crossings[0].layer, crossings[0].unit) == (layer, (unit,))


@pytest.mark.parametrize("model", [chain, convolutional])
def test_the_first_layer_has_one_hyperplane(model):
    x = torch.randn(3, *((4,) if model is chain else (1, 6, 6)), dtype=D)
    plain = model()
    one, other = (dv.disentangle(plain, kind, weights="fresh").eval() for kind in ("dgn", "dlgn"))
    torch.testing.assert_close(dv.gate_distances(one, x, 0), dv.gate_distances(other, x, 0))


def test_no_way_there():
    model = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 2), nn.ReLU()).double()
    with torch.no_grad():
        for parameter, values in zip(
            model.parameters(), ([1, 0], [-5], [1, 1], [0, 2]), strict=True
        ):
            parameter.copy_(torch.tensor(values, dtype=D).view(parameter.shape))
    net = dv.disentangle(model, "dnn")
    found = dv.gate_distances(net, torch.zeros(1, 2, dtype=D), 1)
    assert found.tolist() == [[0, float("inf")]]


def test_the_networks_type():
    net = dv.disentangle(chain().float(), "dgn", weights="fresh").eval()
    x = torch.randn(2, 4)
    found = dv.gate_distances(net, x, 1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, by_autograd(net, x, 1), rtol=1e-4, atol=1e-5)


def test_refused():
    smooth = dv.disentangle(nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.Linear(3, 2), nn.ReLU()))
    net = dv.disentangle(
        nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.Linear(3, 2), nn.ReLU()), "dnn"
    )
    x = torch.randn(2, 4)
    assert dv.gate_distances(net, x, 0).shape == dv.gate_distances(smooth, x, 0).shape
    with pytest.raises(PrimalFilterError, match="kind='dlgn'"):
        dv.gate_distances(net, x, 1)
    relu = dv.disentangle(chain(), "dnn")
    for wrong in (torch.randn(4), torch.randn(2, 5), "x"):
        with pytest.raises(PrimalFilterError):
            dv.gate_distances(relu, wrong, 0)
    with pytest.raises(PrimalFilterError, match="layer"):
        dv.gate_distances(relu, x.double(), 2)
    with pytest.raises(PrimalFilterError, match="which is dense"):
        dv.gate_distances(relu, x.double(), 0, positions=[(0, 0)])
