"""Balanced networks are the same function.

- On dense, convolutional (batch norm, average and max pools, flattened maps) and residual networks:
  outputs and path norms stay, for random inputs and random scales of the units beforehand.
- Every unit that can be rescaled is balanced; those tied by a skip, and shared layers, stay.
- Where units had been rescaled at random, what comes out is the same.
- The network that was given stays as it is.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.path_attribution.rescaling import _gated_layers, rescaled
from tests.path_enumeration.models import Pooled, PostActivation, dense, gated


def flattened():
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 5),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(5, 2),
    ).double()


class Shared(nn.Module):
    """One layer that is called twice."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(3, 3).double()
        self.last = nn.Linear(3, 2).double()

    def forward(self, x):
        return self.last(torch.relu(self.one(torch.relu(self.one(x)))))


CASES = {
    "dense": (lambda: dense(3, 4, 5, 2, bias=True), (3,), 2),
    "average": (lambda: Pooled(nn.AvgPool2d(2, 1)), (1, 4, 4), 2),
    "maximum": (lambda: Pooled(nn.MaxPool2d(2, 1)), (1, 4, 4), 2),
    "flattened": (flattened, (1, 4, 4), 2),
    "residual": (PostActivation, (1, 4, 4), 0),
    "shared": (Shared, (3,), 0),
}


def units(net):
    """(incoming, outgoing) norms of the units of every layer that can be rescaled."""
    for layer in _gated_layers(net.weights_network):
        incoming = layer.source.weight.flatten(1).norm(dim=1)
        if layer.norm is not None:
            incoming = incoming * layer.norm.weight.abs()
        outgoing = sum(
            reader.weight.reshape(len(reader.weight), layer.channels, -1).square().sum((0, 2))
            for reader in layer.readers
        )
        yield incoming, outgoing.sqrt()


@pytest.mark.parametrize("kind", ["dnn", "dlgn"])
@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_the_same_function_balanced(name, kind):
    make, shape, layers = CASES[name]
    net = gated(make(), kind, **({} if kind == "dnn" else {"max_pool": "switch"}))
    before = copy.deepcopy(net.state_dict())
    found = rescaled(net)
    x = torch.randn(6, *shape).double()
    torch.testing.assert_close(found(x), net(x), rtol=1e-10, atol=1e-10)
    assert dv.path_norm(found, x[0], 2, biases=False) == pytest.approx(
        dv.path_norm(net, x[0], 2, biases=False), rel=1e-9
    )
    assert len(list(units(found))) == layers
    for incoming, outgoing in units(found):
        torch.testing.assert_close(incoming, outgoing, rtol=1e-7, atol=0)
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key])


@torch.no_grad()
def test_gates_that_are_no_steps_stay_where_they_were():
    model = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)).double()
    net, x = dv.disentangle(model, "dnn"), torch.randn(5, 3).double()
    found = rescaled(net)
    assert all(
        torch.equal(*q) for q in zip(found.preactivations(x), net.preactivations(x), strict=True)
    )
    torch.testing.assert_close(found(x), net(x), rtol=1e-10, atol=1e-10)
    steps = rescaled(dv.disentangle(dense(3, 4, 2), "dnn"))
    assert next(steps.gating_network.parameters()) is next(steps.weights_network.parameters())


@torch.no_grad()
def test_scales_are_forgotten():
    model = dense(3, 4, 5, 2, bias=True)
    other = copy.deepcopy(model)
    for first, second in ((other[0], other[2]), (other[2], other[4])):
        scale = torch.rand(len(first.weight)).double() * 9 + 0.1
        first.weight *= scale[:, None]
        first.bias *= scale
        second.weight /= scale
    one, same = (rescaled(dv.disentangle(m, "dnn")).weights_network for m in (model, other))
    for a, b in zip(one.parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


@torch.no_grad()
def test_dead_units_keep_their_scale():
    model = dense(3, 4, 2, bias=True)
    model[0].weight[1] = 0
    model[2].weight[:, 2] = 0
    found = rescaled(dv.disentangle(model, "dnn")).weights_network
    first, last = (p for p in found.parameters() if p.dim() == 2)
    assert torch.equal(last[:, 1], model[2].weight[:, 1])
    assert torch.equal(first[2], model[0].weight[2])
