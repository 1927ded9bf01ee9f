"""Properties proved here.

1. Chains, convolutional and residual networks have the layers that they are asked for, no biases,
   and float64 weights once taken apart; gates are as many as the formulas count.
2. Scales give every weight layer the variance asked for: c^2 / fan-in.
3. Unequal variances are unequal, and 1 for biases; batch norms that were enlivened do something.
"""

import pytest
import torch
from torch import nn

from dualview.experiments.theory.models import (
    Residual,
    chain,
    convolutions,
    enliven,
    normal,
    parameter_names,
    scales,
    taken_apart,
    unequal_variances,
)
from dualview.path_kernel.kernel import weight_layers


def test_chain():
    net = taken_apart(chain((3, 4, 5, 2)))
    assert [tuple(p.shape) for p in net.weights_network.parameters()] == [(4, 3), (5, 4), (2, 5)]
    assert [g.shape[1] for g in net.gates(normal(2, 3))] == [4, 5]
    assert all(p.dtype == torch.float64 for p in net.parameters())


@pytest.mark.parametrize(("dims", "shape"), [(1, (2, 5)), (2, (2, 5, 4))])
def test_convolutions(dims, shape):
    model = convolutions((2, 3, 4), (6, 1), padding="zeros", dims=dims)
    net = taken_apart(model)
    assert [tuple(g.shape[1:]) for g in net.gates(normal(2, *shape))] == [
        (3, *shape[1:]),
        (4, *shape[1:]),
        (6,),
    ]
    assert {module.padding_mode for module in model if hasattr(module, "padding")} >= {"zeros"}
    assert all(p.dim() > 1 for p in net.parameters())


@pytest.mark.parametrize(("bypassed", "depth"), [(0, 1), (1, 1), (3, 2)])
def test_residual(bypassed, depth):
    net = taken_apart(Residual(bypassed, depth, 3, 4))
    assert net.n_gates == (bypassed + 2) * depth - 1
    assert len(weight_layers(net)) == (bypassed + 2) * depth
    assert all(p.dim() > 1 for p in net.parameters())


def test_scales_give_variances():
    net = taken_apart(convolutions((2, 3), (4, 1)))
    names = parameter_names(net)
    variances = unequal_variances(net)
    c = scales(net, variances)
    for node, inputs in weight_layers(net).items():
        assert c[node] ** 2 / inputs == pytest.approx(variances[names[node]])
    assert len(set(variances.values())) == len(variances) == 3
    assert scales(net, 0.5) == scales(net, dict.fromkeys(variances, 0.5))


def test_biases_have_variance_one():
    net = taken_apart(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)))
    variances = unequal_variances(net)
    assert variances["0.bias"] == variances["2.bias"] == 1
    assert variances["0.weight"] != variances["2.weight"]


def test_enlivened_batch_norm_does_something():
    x = torch.randn(2, 3, 4, 4)
    fresh, enlivened = nn.BatchNorm2d(3).eval(), enliven(nn.BatchNorm2d(3)).eval()
    torch.testing.assert_close(fresh(x), x, rtol=1e-4, atol=1e-4)
    assert (enlivened(x) - x).abs().max() > 0.01
