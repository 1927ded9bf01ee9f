"""Properties proved here: what is broken on purpose is found.

1. A gate that is not the activation's, or that is open at 0.
2. A network that applies its gates in another order, or reads the data where it should read ones.
3. Path features without their input factor, path values without their last weight.
4. A kernel without the input factor, with another exponent, or without biases.
5. Preactivations that are not affine.
"""

import pytest
import torch
from torch import nn

from dualview.conversion import gated_network
from dualview.conversion.activations import GATE_OF_MODULE
from dualview.conversion.gates import Gate, SiLUGate
from dualview.experiments.theory import identities
from tests.experiments.theory.checking import all_fail, tried


class OpenAtZero(Gate):
    def forward(self, q):
        return (q >= 0).to(q.dtype)


@pytest.mark.parametrize("kind", identities.activations()[::5])
def test_wrong_gates(monkeypatch, kind):
    wrong = SiLUGate() if kind is not nn.SiLU else OpenAtZero()
    monkeypatch.setitem(GATE_OF_MODULE, kind, lambda module: wrong)
    assert tried("self-gated").details == kind.__name__
    assert all_fail("self-gated", "dual-form-activations")


def test_open_at_zero(monkeypatch):
    monkeypatch.setattr(identities, "HardGate", OpenAtZero)
    assert all_fail("zero-gate")


def test_gates_in_another_order(monkeypatch):
    own = gated_network.GatedNetwork._gates_and_switches

    def swapped(self, x, **options):
        gates, switches = own(self, x, **options)
        shapes = {gate.shape for gate in gates}
        return (gates[::-1] if len(shapes) == 1 else tuple(1 - g for g in gates)), switches

    monkeypatch.setattr(gated_network.GatedNetwork, "_gates_and_switches", swapped)
    assert all_fail("dual-form", "dual-form-activations", "definitions")


def test_data_where_ones_should_be(monkeypatch):
    own = identities.taken_apart

    def with_data(model, kind="dlgn", **options):
        return own(model, kind, **{**options, "weights_input": "data"})

    monkeypatch.setattr(identities, "taken_apart", with_data)
    record = tried("definitions")
    assert not record.holds
    assert record.details.endswith("ones")


def test_features_without_input_factor(monkeypatch):
    own = identities.path_features
    monkeypatch.setattr(identities, "path_features", lambda net, x: own(net, torch.ones_like(x)))
    assert all_fail("bundles", "kernel-of-features", "path-regression")


def test_values_without_their_sign(monkeypatch):
    own = identities.path_values
    monkeypatch.setattr(identities, "path_values", lambda net, shape: own(net, shape).abs())
    assert all_fail("bundles")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda kernel, net, x: kernel * 1.001,
        lambda kernel, net, x: kernel**2,
        lambda kernel, net, x: kernel / (1 + x.flatten(1).norm(dim=1)[:, None]),
    ],
)
def test_wrong_kernels(monkeypatch, wrong):
    own = identities.npk

    def broken(net, x, *others, **options):
        return wrong(own(net, x, *others, **options), net, x)

    monkeypatch.setattr(identities, "npk", broken)
    assert all_fail("kernel-of-features", "path-regression")


def test_kernel_without_biases(monkeypatch):
    own = identities.npk

    def without(net, x, *others, **options):
        return own(net, x, *others, **{**options, "biases": False})

    monkeypatch.setattr(identities, "npk", without)
    assert all_fail("kernel-of-features")


def test_outputs_that_are_doubled(monkeypatch):
    own = identities.taken_apart

    def doubled(model, kind="dlgn", **options):
        net = own(model, kind, **options)
        net.weights_network.register_forward_hook(lambda module, inputs, output: output * 2)
        return net

    monkeypatch.setattr(identities, "taken_apart", doubled)
    assert all_fail("paths", "bundles", "definitions")


def test_preactivations_that_are_not_affine(monkeypatch):
    own = identities.taken_apart
    monkeypatch.setattr(
        identities,
        "taken_apart",
        lambda model, kind="dlgn", **options: own(model, "dgn", **options),
    )
    assert all_fail("affine")
