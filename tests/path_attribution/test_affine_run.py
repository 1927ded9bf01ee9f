"""Runs with some values changed.

- Without changes the result is the network's; a changed value is what later nodes read.
- Offsets are the values of operations on zeros, and only those that are not 0.
"""

import torch
from torch import nn

from dualview.path_attribution.affine_run import AffineRun, offsets, value_with
from dualview.path_attribution.building import recorded_values
from dualview.path_attribution.example import one_example
from tests.path_enumeration.models import gated


def network():
    layers = [nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2, bias=False)]
    return gated(nn.Sequential(*layers).double(), "dlgn")


def test_changes_are_read_by_what_follows():
    net = network()
    example = one_example(net, torch.randn(1, 3).double())
    first = next(node for node in example.network.graph.nodes if node.target == "0")
    with torch.no_grad():
        assert torch.equal(AffineRun(example, {}).result, example.network(*example.arguments))
        (gate,) = example.given
        moved = example.network.get_submodule("1")(torch.ones(1, 4).double()) * gate
        expected = example.network.get_submodule("3")(moved)
        run = AffineRun(example, {first: torch.ones_like})
    torch.testing.assert_close(run.result, expected)
    assert torch.equal(run.values[first], torch.ones(1, 4).double())
    assert value_with(example, 1, {first: torch.ones_like}) == float(run.result[0, 1])


def test_offsets():
    net = network()
    example = one_example(net, torch.randn(1, 3).double())
    found = offsets(example, recorded_values(example))
    assert {str(node.target) for node in found} == {"0", "1"}
    by_name = {str(node.target): value for node, value in found.items()}
    norm = example.network.get_submodule("1")
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    torch.testing.assert_close(by_name["1"][0], norm.bias - norm.running_mean * scale)
    torch.testing.assert_close(by_name["0"][0], example.network.get_submodule("0").bias)
