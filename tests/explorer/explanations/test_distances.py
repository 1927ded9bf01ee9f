"""Norms of the filters behind every layer, and distances by them.

- They are the norms of autograd Jacobians, of every gate.
- Layers that would take too long have none, and a sentence says from which on.
- A gate without a filter is infinitely far, and never the nearest.
"""

import itertools

import numpy as np
import pytest
import torch

from dualview.explorer.explanations import distances as module
from dualview.explorer.explanations.distances import distances, nearest, norms_by_layer
from dualview.explorer.explanations.filters import filters_by_layer

from .cases import exact, inputs_of, network


def found_of(shape):
    net = exact(network(shape))
    return net, filters_by_layer(net, (3, 7, 7))[0]


@pytest.mark.parametrize("shape", ["dense", "residual"])
def test_norms(shape):
    net, found = found_of(shape)
    norms, why = norms_by_layer(found)
    jacobians = torch.func.jacrev(net.preactivations)(inputs_of(0))
    assert why == ""
    for norm, jacobian, primal in zip(norms, jacobians, found, strict=True):
        expected = jacobian.reshape(*primal.gate_shape, -1).norm(dim=-1).numpy()
        np.testing.assert_allclose(norm, expected, rtol=1e-10)


def test_layers_that_take_too_long(monkeypatch):
    clock = itertools.count(step=20.0)
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    _, found = found_of("residual")
    norms, why = norms_by_layer(found)
    assert [norm is None for norm in norms] == [False] + [True] * (len(found) - 1)
    assert "from gate 2 on" in why
    assert norms_by_layer([]) == ([], "")


def test_gates_without_a_filter():
    q, norms = np.array([2.0, -3.0, 0.0, 4.0]), np.array([0.0, 0.0, 0.0, 8.0])
    assert distances(q, norms).tolist() == [np.inf, -np.inf, 0.0, 0.5]
    assert nearest(distances(q, norms)[[0, 1, 3]]) == 0.5
    assert nearest(distances(q, norms)[:2]) is None
