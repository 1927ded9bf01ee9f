"""The strongest paths.

- Without biases a network has the same gates, and its paths are those that begin at the input: the
  strongest of them are the strongest of all listed paths that begin there.
- Groups are `top_path_groups`, with pictures that are smaller and still sum to them.
- The paths from anywhere are `top_paths`; fewer are listed where there are fewer.
- The network is left as it was, its shared parameters too.
- Where a constant is no bias, paths from the input cannot be told apart, and there are none.
"""

import copy

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.explorer.explanations.budget import Budget
from dualview.explorer.explanations.paths import strongest_paths, without_biases
from dualview.path_attribution.contributions import input_contributions
from dualview.path_attribution.groups import top_path_groups
from dualview.path_attribution.strongest_paths import top_paths

from .cases import KINDS, exact, inputs_of, network


def tiny(kind="dlgn"):
    torch.manual_seed(6)
    layers = (nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    return dv.disentangle(nn.Sequential(*layers).double(), kind=kind, seed=0).eval()


def budget(k, side=32):
    return Budget(32, 8, k, groups=3, group_side=side)


def found(net, x, k, outputs=(0, 1)):
    starts = [input_contributions(net, x, output) for output in outputs]
    return strongest_paths(net, without_biases(net), x, starts, budget(k))


@pytest.mark.parametrize("kind", KINDS)
def test_from_the_input(kind):
    net, x = tiny(kind), torch.tensor([[0.4, -1.3, 2.0]]).double()
    for output, paths in enumerate(found(net, x, 7)):
        count = int(top_paths(net, x, output, 1).n_paths)
        every = top_paths(net, x, output, count).paths
        listed = [path.contribution for path in every if path.start.kind == "input"]
        contributions = [path.contribution for path in paths.from_input.paths]
        assert contributions == pytest.approx(listed[:7], rel=1e-12)
        assert paths.from_input.total == pytest.approx(sum(listed), rel=1e-12)
        assert {path.start.kind for path in paths.from_input.paths} == {"input"}


@pytest.mark.parametrize("shape", ["dense", "convolutional", "strided", "residual"])
def test_from_anywhere(shape):
    net, x = exact(network(shape)), inputs_of(0)
    for output, paths in enumerate(found(net, x, 4)):
        assert paths.from_anywhere == top_paths(net, x, output, 4)
        start = input_contributions(net, x, output)
        assert paths.from_input.total == pytest.approx(start.from_input, rel=1e-9)
        assert start.from_biases != 0
    start = input_contributions(net, x, 1, against=0)
    (paths,) = strongest_paths(net, without_biases(net), x, [start], budget(4))
    assert paths.from_anywhere == top_paths(net, x, 1, 4, against=0)
    assert paths.from_input.total == pytest.approx(start.from_input, rel=1e-9)


@pytest.mark.parametrize("shape", ["dense", "convolutional", "residual"])
def test_groups(shape):
    net, x = exact(network(shape)), inputs_of(0)
    start = input_contributions(net, x, 1, against=0)
    (paths,) = strongest_paths(net, without_biases(net), x, [start], budget(2, side=3))
    want = top_path_groups(net, x, 1, k=3, against=0)
    assert paths.groups.total == pytest.approx(start.total, rel=1e-9)
    assert paths.groups.from_input == pytest.approx(start.from_input, rel=1e-9)
    for group, whole in zip(paths.groups.groups, want.groups, strict=True):
        assert group.nodes == whole.nodes
        assert group.starts.shape == (3, 3)
        assert group.starts.sum() == pytest.approx(whole.contribution, rel=1e-9)
        assert group.starts[0, 0] == pytest.approx(whole.starts[:3, :3].sum(), rel=1e-9)


def test_all_where_there_are_fewer():
    net, x = tiny(), torch.tensor([[0.4, -1.3, 2.0]]).double()
    (paths,) = found(net, x, 1000, outputs=[0])
    assert len(paths.from_input.paths) == 3 * 4 * 3
    assert len(paths.from_anywhere.paths) == 3 * 4 * 3 + 4 * 3 + 3 + 1


@pytest.mark.parametrize("kind", KINDS)
def test_same_gates_and_nothing_changed(kind):
    net, x = exact(network("convolutional", kind)), inputs_of(1)
    before = copy.deepcopy(net.state_dict())
    bare = without_biases(net)
    for own, its in zip(net.gates(x), bare.gates(x), strict=True):
        assert own.equal(its)
    assert not bare.weights_network(torch.zeros_like(x), *bare.gates(x)).any()
    assert net(x).any()
    for name, values in net.state_dict().items():
        assert values.equal(before[name])
    shared = {p.data_ptr() for p in bare.parameters()} & {p.data_ptr() for p in net.parameters()}
    weights = [p for p in net.weights_network.parameters() if p.dim() > 1]
    assert shared >= {p.data_ptr() for p in weights}  # no second copy


class AddsOne(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)) + 1)


def test_constants_that_are_no_biases():
    net = dv.disentangle(AddsOne().double(), seed=0).eval()
    for paths in found(net, torch.tensor([[0.4, -1.3, 2.0]]).double(), 3):
        assert paths.from_input is None
        assert len(paths.from_anywhere.paths) == 3
