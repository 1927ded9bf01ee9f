"""A random run: values, weights and nodes are those of the network, and it repeats itself."""

import copy

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.path_enumeration.example_values import evaluated_inputs
from dualview.path_enumeration.random_run import random_run, simplify_batch_norm


def network():
    torch.manual_seed(0)
    layers = (nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    net = dv.disentangle(nn.Sequential(*layers), "dgn", seed=0).double().eval()
    net(torch.zeros(2, 3, dtype=torch.float64))
    return net


def run(net):
    own = copy.deepcopy(net.weights_network)
    inputs = evaluated_inputs(net, torch.ones(2, 3))
    with torch.no_grad():
        return own, random_run(own, inputs, {})


def test_values_are_the_networks():
    own, found = run(network())
    assert set(found.of) >= {"x", "gate_1"}
    output = next(n for n in reversed(own.graph.nodes) if n.op == "output").args[0]
    with torch.no_grad():
        again = own(found.of["x"], found.of["gate_1"])
    torch.testing.assert_close(found.of[output.name], again, rtol=0, atol=0)
    assert found.data[-1] is output
    assert all(node.op != "placeholder" for node in found.data)


def test_scales_of_batch_norm_are_no_weights():
    own, found = run(network())
    names = {name for name, _ in own.named_parameters()}
    scales = {f"{n}.weight" for n, m in own.named_modules() if isinstance(m, nn.BatchNorm1d)}
    assert set(found.weights) == names - scales
    assert set(found.names.values()) == set(found.weights)
    assert all(torch.equal(found.random[name], w) for name, w in found.weights.items())


def test_it_repeats_itself():
    one, two = run(network())[1], run(network())[1]
    assert all(torch.equal(one.random[name], two.random[name]) for name in one.random)


@pytest.mark.parametrize("mode", ["model", "scale", "identity"])
def test_what_is_kept_of_batch_norm(mode):
    norm = nn.BatchNorm1d(2).double().eval()
    with torch.no_grad():
        for tensor, value in zip(norm.state_dict().values(), (3.0, 5.0, 7.0, 4.0), strict=False):
            tensor.fill_(value)
        own = torch.fx.symbolic_trace(nn.Sequential(copy.deepcopy(norm)))
        simplify_batch_norm(own, mode)
        x = torch.ones(1, 2, dtype=torch.float64)
        mean = 7.0 if mode == "model" else 0.0
        scale = 1.0 if mode == "identity" else 3.0 / (4 + norm.eps) ** 0.5
        expected = (x - mean) * scale + 5
    torch.testing.assert_close(own(x), expected)
