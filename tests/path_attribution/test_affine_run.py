"""Runs forwards and backwards of one example's network.

- The result is the network's, in float64 also where the graph would round; with an input of 0 it is
  what biases alone give.
- Cotangents are autograd's, at every node; behind a barrier nothing is asked for.
- What an operation adds on its own is its value on zeros, and only where that is not 0.
"""

import pytest
import torch
from torch import nn

from dualview.path_attribution.affine_run import affine_pass, unit
from dualview.path_attribution.example import one_example
from tests.path_enumeration.models import gated


def network():
    layers = [nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2, bias=False)]
    return gated(nn.Sequential(*layers).double(), "dlgn")


def example():
    torch.manual_seed(1)
    return one_example(network(), torch.randn(1, 3).double())


def named(run, nodes):
    return {str(node.target): value for node, value in nodes}


def test_values_and_results():
    one = example()
    gate = next(node for node in one.network.graph.nodes if node.name == "apply_gate")
    run = affine_pass(one, keep=[gate])
    with torch.no_grad():
        torch.testing.assert_close(run.result, one.network(*one.arguments))
        torch.testing.assert_close(one.network.get_submodule("3")(run.kept[gate]), run.result)
        zero = affine_pass(one, zero_input=True)
        expected = one.network(torch.zeros_like(one.x), *one.given)
    torch.testing.assert_close(zero.result, expected)


@pytest.mark.parametrize("output", [0, 1])
def test_cotangents_are_gradients(output):
    one = example()
    x = one.x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(one.network(x, *one.given)[0, output], x)
    run = affine_pass(one)
    with torch.no_grad():
        found = dict(run.pull_back(unit(run.result, output)))
    torch.testing.assert_close(found[run.first], expected)
    assert next(iter(found)).target == "3"


def test_a_barrier():
    one = example()
    run = affine_pass(one)
    norm = next(node for node in run.data if node.target == "1")
    with torch.no_grad():
        found = named(run, run.pull_back(unit(run.result, 0), barrier=[norm]))
    assert "1" in found
    assert not {"0", "x"} & set(found)


def test_what_operations_add():
    one = example()
    run = affine_pass(one)
    with torch.no_grad():
        cotangents = dict(run.pull_back(unit(run.result, 1)))
        added = {str(n.target): run.added(n, c) for n, c in cotangents.items()}
    norm, dense = one.network.get_submodule("1"), one.network.get_submodule("0")
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    of = {str(node.target): value for node, value in cotangents.items()}
    shift = float(of["1"][0] @ (norm.bias - norm.running_mean * scale))
    assert added["1"] == pytest.approx(shift) if shift else added["1"] is None
    assert added["0"] == pytest.approx(float(of["0"][0] @ dense.bias))
    assert added["3"] is None
