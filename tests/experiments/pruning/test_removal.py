"""Weights removed, against counts and bounds.

- So many weights are 0 as were asked for, the least important ones; biases stay; the network given
  stays as it is; a "dnn" makes its gates by what is left.
- Nothing removed is the network; the bound holds, for every order's own least weights, too.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.experiments.pruning.removal import IMPORTANCE, SHARES, pruned, removed
from dualview.training.accuracy import accuracy
from dualview.training.feeding import transform_of
from tests.experiments.reproduced import few_digits

DATA = few_digits(30)


def network(kind="dnn"):
    torch.manual_seed(0)
    layers = nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10)
    return dv.disentangle(
        nn.Sequential(*layers),
        kind,
        seed=None if kind == "dnn" else 0,
        input_transform=transform_of(DATA),
    )


@pytest.mark.parametrize("order", IMPORTANCE)
def test_the_least_go(order):
    net, x = network("dlgn"), torch.rand(1, 8, 8)
    weighed = IMPORTANCE[order](net, x)
    found = pruned(net, weighed, 0.4)
    gone, kept = [], []
    for (name, left), before in zip(
        found.weights_network.named_parameters(), net.weights_network.parameters(), strict=True
    ):
        if left.dim() == 1:
            assert torch.equal(left, before)
            continue
        gone += weighed[name][left == 0].tolist()
        kept += weighed[name][left != 0].tolist()
        assert torch.equal(left[left != 0], before[left != 0])
    assert len(gone) == round(0.4 * (64 * 6 + 60))
    assert max(gone) <= min(kept)
    for a, b in zip(
        found.gating_network.parameters(), net.gating_network.parameters(), strict=True
    ):
        assert torch.equal(a, b)


def test_a_dnn_makes_its_gates_by_what_is_left():
    net = network()
    found = pruned(net, IMPORTANCE["size"](net, torch.rand(1, 8, 8)), 0.5)
    first = next(found.gating_network.parameters())
    assert first is next(found.weights_network.parameters())
    assert (first == 0).any()
    assert not any((p == 0).any() for p in net.parameters() if p.dim() > 1)


@pytest.mark.parametrize("kind", ["dnn", "dlgn"])
def test_accuracies_and_bounds(kind):
    net = network(kind)
    found = removed(net, DATA)
    for order in IMPORTANCE:
        assert found[order][0] == accuracy(net, DATA)
        assert len(found[order]) == len(SHARES)
    assert found["change"][0] == found["bound"][0] == 0
    assert all(c <= b for c, b in zip(found["change"], found["bound"], strict=True))
    assert found["bound"] == sorted(found["bound"])
