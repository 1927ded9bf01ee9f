"""What each method says, against derivatives taken here; and where they must agree.

- Path contributions of a ReLU network are gradient × input, and integrated gradients of a network
  without biases; DeepLIFT of one gated layer whose input is not positive or negative at will sums
  to the difference of margins.
- Of a DLGN with soft gates the gradient has a part through the gates, which paths have not.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.errors import MissingExtraError
from dualview.path_attribution.faithfulness import methods
from dualview.path_attribution.faithfulness.methods import NAMES, Decision, deep_lift, method_of

DRAW = torch.Generator()


def convolutional(bias=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=bias),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 4, bias=bias),
        nn.ReLU(),
        nn.Linear(4, 3, bias=bias),
    ).double()


def decided(model, kind="dnn", **options):
    net = dv.disentangle(model, kind, seed=0, **options).eval()
    return Decision(net, torch.randn(1, 2, 4, 4).double(), 2, 0)


def gradient_times_input(decision):
    z = decision.z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(decision.margins(z).sum(), z)
    return (z * gradient).detach()[0].sum(0)


@pytest.mark.parametrize("name", ["paths", "gradient-input"])
def test_of_a_relu_network(name):
    decision = decided(convolutional())
    found = method_of(name, 1.0)(decision, DRAW)
    assert found.shape == (4, 4)
    torch.testing.assert_close(found, gradient_times_input(decision))


def test_integrated_gradients_without_biases_are_the_paths():
    """The network is then linear along the ray from 0."""
    decision = decided(convolutional(bias=False))
    found = [method_of(name, 1.0)(decision, DRAW) for name in ("integrated-gradients", "paths")]
    torch.testing.assert_close(*found)


def test_soft_gates_have_a_part_that_is_not_of_paths():
    decision = decided(convolutional(), "dlgn", gate="soft")
    paths, gradient = (method_of(n, 1.0)(decision, DRAW) for n in ("paths", "gradient-input"))
    torch.testing.assert_close(gradient, gradient_times_input(decision))
    assert not torch.allclose(gradient, paths, atol=1e-3)


def test_softened_paths():
    decision = decided(convolutional())
    parts = dv.input_contributions(decision.net, decision.z, 2, against=0, soften=0.5)
    found = method_of("softened-paths", 0.5)(decision, DRAW)
    assert found.numpy() == pytest.approx(parts.coordinates.sum(0))


def test_deep_lift_sums_to_the_difference():
    model = convolutional()
    decision = decided(model)
    found = deep_lift(model)(decision, DRAW)
    with torch.no_grad():
        change = decision.margins(decision.z) - decision.margins(torch.zeros_like(decision.z))
    assert float(found.sum()) == pytest.approx(float(change), abs=1e-9)


def test_vectors_keep_their_features():
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    decision = Decision(dv.disentangle(model, "dnn"), torch.randn(1, 5).double(), 1, 0)
    for name in NAMES:
        assert method_of(name, 1.0)(decision, DRAW).shape == (5,)


def test_captum_is_asked_for(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "captum", None)
    monkeypatch.setitem(__import__("sys").modules, "captum.attr", None)
    with pytest.raises(MissingExtraError, match=r"dualview\[evaluate\]"):
        methods.method_of("integrated-gradients", 1.0)
