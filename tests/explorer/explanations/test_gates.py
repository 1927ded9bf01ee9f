"""Gates by layer, and what each layer adds.

- The channels shown are those with the largest |sum over positions| to any output explained.
- Every channel's part, place, gate and q are the library's; `adding`, `taking`, skips and biases
  are its sums over units, and sum to the logit.
- Maps are the gates, their mean over channels, and smaller ones their block means.
- With a permuted gate order, q is that of the layer that supplies the gates.
- Distances are q over the norm of the gate's filter, written out; the nearest is their smallest.
- Gate functions are named in words.
"""

import numpy as np
import pytest
import torch
from torch import nn

import dualview as dv
from dualview.conversion.gates import SoftGate
from dualview.explorer.explanations.budget import Budget
from dualview.explorer.explanations.gates import gate_text, gate_values, layer_views, layers_of
from dualview.path_attribution.contributions import layer_contributions

from .cases import KINDS, SHAPES, exact, inputs_of, network

OUTPUTS = (2, 0)
TARGETS = ((2, None), (0, None), (2, 0))


def views(net, x, budget=None, norms=None):
    budget = budget or Budget(32, 3, 5)
    interiors = [()] * net.n_gates
    norms = norms or [None] * net.n_gates
    return layer_views(net, x, OUTPUTS, gate_values(net, x), budget, interiors, norms)


@pytest.mark.parametrize("shape", SHAPES)
def test_parts_are_the_librarys(shape):
    net, x = exact(network(shape)), inputs_of(2)
    gates, parts = views(net, x)
    q = [value[0].numpy() for value in net.preactivations(x)]
    g = [value[0].detach().numpy() for value in net.gates(x)]
    for (output, against), layers in zip(TARGETS, parts, strict=True):
        for number, layer in enumerate(layers):
            found = layer_contributions(net, x, output, number, against=against)
            assert layer.adding == pytest.approx(found.units.clip(min=0).sum(), rel=1e-12)
            assert layer.taking == pytest.approx(found.units.clip(max=0).sum(), rel=1e-12)
            assert layer.skips == pytest.approx(found.skips, rel=1e-9, abs=1e-12)
            assert layer.biases == pytest.approx(found.biases, rel=1e-9, abs=1e-12)
            total = layer.adding + layer.taking + layer.skips + layer.biases
            assert total == pytest.approx(found.total, rel=1e-9)
            assert tuple(c.channel for c in layer.channels) == gates[number].shown
            for channel in layer.channels:
                units = found.units[channel.channel]
                assert channel.part == pytest.approx(units.sum(), rel=1e-12)
                assert abs(units[channel.place]) == np.abs(units).max()
                where = (channel.channel, *channel.place)
                assert channel.gate == g[number][where]
                assert channel.preactivation == q[number][where]


@pytest.mark.parametrize("shape", SHAPES)
def test_shown_are_the_strongest(shape):
    net, x = exact(network(shape)), inputs_of(0)
    gates, _ = views(net, x)
    for number, layer in enumerate(gates):
        sums = {}
        for channel in range(layers_of(net, x)[number].shape[0]):
            parts = [
                layer_contributions(net, x, o, number, against=against).units[channel].sum()
                for o, against in TARGETS
            ]
            sums[channel] = max(map(abs, parts))
        others = [value for channel, value in sums.items() if channel not in layer.shown]
        shown = [sums[channel] for channel in layer.shown]
        assert shown == sorted(shown, reverse=True)
        assert not others or max(others) <= shown[-1]


@pytest.mark.parametrize("side", [32, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_maps_are_the_gates(kind, side):
    net, x = exact(network("convolutional", kind)), inputs_of(5)
    gates, _ = views(net, x, Budget(side, 2, 5))
    for layer, gate, q in zip(gates, net.gates(x), net.preactivations(x), strict=True):
        values = gate[0].detach().numpy()
        if side == 4:  # 7 rows: blocks of 2, 2, 2 and 1
            values = np.stack(
                [
                    [[v[i : i + 2, j : j + 2].mean() for j in (0, 2, 4, 6)] for i in (0, 2, 4, 6)]
                    for v in values
                ]
            )
        np.testing.assert_allclose(layer.maps, values[list(layer.shown)], rtol=1e-12)
        if side == 32:
            np.testing.assert_allclose(layer.mean, values.mean(0), rtol=1e-12)
        assert layer.on == pytest.approx((q > 0).double().mean().item())


def test_a_dense_layer_has_its_gates_in_a_row():
    net, x = exact(network("dense")), inputs_of(1)
    gates, _ = views(net, x)
    for layer, gate in zip(gates, net.gates(x), strict=True):
        np.testing.assert_array_equal(layer.mean, gate.detach().numpy())
        assert layer.maps.shape[0] == 0


@pytest.mark.parametrize("shape", ["dense", "convolutional"])
def test_distances(shape):
    net, x = exact(network(shape)), inputs_of(4)
    norms = []
    for number in range(net.n_gates):
        jacobian = torch.func.jacrev(lambda x, n=number: net.preactivations(x)[n][0])(x)
        start = jacobian.dim() - 4
        norms.append(jacobian.flatten(start).norm(dim=-1).numpy())
    gates, parts = views(net, x, norms=norms)
    for number, q in enumerate(net.preactivations(x)):
        far = q[0].numpy() / norms[number]
        assert gates[number].nearest == pytest.approx(np.abs(far).min(), rel=1e-12)
        for layers in parts:
            for channel in layers[number].channels:
                expected = far[(channel.channel, *channel.place)]
                assert channel.distance == pytest.approx(expected, rel=1e-12)


def test_no_distances_without_norms():
    gates, parts = views(exact(network("dense")), inputs_of(4))
    assert {layer.nearest for layer in gates} == {None}
    assert {c.distance for layers in parts for layer in layers for c in layer.channels} == {None}


def test_permuted_gates():
    net, x = exact(network("permuted", order=(1, 0))), inputs_of(0)
    values = gate_values(net, x)
    q = net.preactivations(x)
    np.testing.assert_array_equal(values.preactivations[0], q[1][0].numpy())
    np.testing.assert_allclose(values.gates[0], torch.sigmoid(4 * q[1][0]).numpy(), rtol=1e-12)


def test_gate_functions_in_words():
    model = nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(), nn.Linear(3, 2), nn.ReLU())
    assert gate_text(dv.disentangle(model, "dgn", gate=SoftGate(2, eps=0.1))) == "1.1 sigmoid(2 q)"
    assert gate_text(dv.disentangle(model, "dnn")) == "LeakyGate(slope=0.01), 1 where q > 0"
