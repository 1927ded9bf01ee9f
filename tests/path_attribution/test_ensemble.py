"""Residual networks as ensembles of their sub-networks.

- Members are the sums over the paths that the oracle lists through exactly those blocks, biases and
  batch norm included; sizes are the sums over members; all sum to the output.
- Without biases a member is the sub-network itself: blocks in J, skips elsewhere.
- A vision transformer's members are found by switching branches off.
- Every residual architecture, kind, and random graph is complete to 1e-10, for any depth by size.
- Sizes that a model reads off a tensor, projections, subtraction and nested blocks are covered.
- Too many members are refused with their number; networks without blocks are refused.
"""

import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx, nn
from torch.nn import functional as F

import dualview as dv
from dualview.architectures import ResNet
from dualview.errors import PathKernelError, TooManyPathsError
from dualview.path_attribution.building import recorded_values
from dualview.path_attribution.ensemble import ensemble_contributions, residual_blocks
from dualview.path_attribution.example import one_example
from dualview.path_enumeration import paths
from dualview.path_enumeration.bundles import features_of
from dualview.path_enumeration.example_values import evaluated_inputs
from tests.cases import enliven, small_architecture, small_input
from tests.path_attribution.test_strongest_paths import OPTIONS
from tests.path_enumeration.models import DenseBlocks, PostActivation, gated, images
from tests.random_networks import Features, random_networks


def members_by_paths(net, x, names, limit=100_000):
    """J -> the sum over the oracle's paths that hold weights of exactly the blocks in J."""
    every = [path for path in paths(net, x.shape[1:], limit=limit) if path.output == 0]
    features = features_of([[path] for path in every], evaluated_inputs(net, x))[0].tolist()
    parameters = {k: v.detach().tolist() for k, v in net.weights_network.named_parameters()}
    found = defaultdict(list)
    for path, feature in zip(every, features, strict=True):
        value = feature
        for weight in path.weights:
            entry = parameters[weight.parameter]
            for index in weight.coordinates:
                entry = entry[index]
            value *= entry
        read = [weight.parameter for weight in path.weights]
        used = (any(r.startswith(name) for r in read) for name in names)
        found[tuple(i for i, through in enumerate(used) if through)].append(value)
    return {member: math.fsum(values) for member, values in found.items()}


CASES = {
    "dense blocks": lambda: (DenseBlocks(3), torch.randn(1, 3).double(), "blocks.{}."),
    "residual": lambda: (
        enliven(ResNet(1, 2, (1, 2, 2), 1, False).double()),
        torch.randn(1, 1, 2, 2).double(),
        "stages.{}.0.",
    ),
}


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, "dgn") for name in CASES), *((next(iter(CASES)), o) for o in OPTIONS if o != "dgn")],
)
def test_members_are_sums_over_paths(name, options):
    model, x, pattern = CASES[name]()
    net = gated(model, **OPTIONS[options])
    parts = ensemble_contributions(net, x, 0)
    names = [pattern.format(i) for i in range(3)]
    assert [block.startswith(n) for block, n in zip(parts.blocks, names, strict=True)] == [True] * 3
    expected = members_by_paths(net, x, names)
    assert set(expected) <= set(parts.members)
    assert list(parts.members)[:5] == [(), (0,), (1,), (2,), (0, 1)]
    for member, value in parts.members.items():
        assert value == pytest.approx(expected.get(member, 0.0), rel=1e-9, abs=1e-11)
    for size, value in enumerate(parts.by_size):
        same = math.fsum(v for member, v in parts.members.items() if len(member) == size)
        assert value == pytest.approx(same, abs=1e-13)


def test_a_member_is_its_sub_network():
    net = gated(DenseBlocks(3), "dgn")
    x = torch.randn(1, 3).double()
    parts = ensemble_contributions(net, x, 0)
    gates = [gate[0].detach() for gate in net.gates(x)]
    network = net.weights_network

    def layer(name, value):
        return network.get_submodule(name)(value).detach()

    for member, contribution in parts.members.items():
        value = layer("first.2", layer("first.0", x[0]) * gates[0]) * gates[1]
        for block in range(3):
            if block in member:
                own = gates[2 + 2 * block : 4 + 2 * block]
                value = layer(f"blocks.{block}.0", value) * own[0]
                value = layer(f"blocks.{block}.2", value) * own[1]
        value = layer("last.0", value) * gates[-1]
        assert contribution == pytest.approx(float(layer("output", value)), rel=1e-10)


def assert_complete(net, x, output=0, by=("member", "size")):
    with torch.no_grad():
        logit = float(net(x).reshape(-1)[output])
    found = [ensemble_contributions(net, x, output, by=how) for how in by]
    for parts in found:
        values = list(parts.by_size if parts.members is None else parts.members.values())
        size = 1e-10 * max(math.fsum(map(abs, values)), 1e-300)
        assert abs(math.fsum(values) - parts.total) <= size
        assert abs(parts.total - logit) <= size + 1e-10 * abs(logit)
    if len(found) == 2:
        scale = 1e-12 * (1e-300 + np.abs(list(found[0].members.values())).sum())
        np.testing.assert_allclose(found[0].by_size, found[1].by_size, rtol=0, atol=scale)
    return found[0]


RESIDUAL = {"resnet20": 9, "resnet110": 54}


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("name", RESIDUAL)
def test_every_residual_architecture(name, batch_norm):
    net = gated(small_architecture(name, batch_norm), "dlgn")
    by = ("member", "size") if name == "resnet20" else ("size",)
    parts = assert_complete(net, small_input(name, 1), 2, by)
    assert len(parts.blocks) == RESIDUAL[name]
    assert parts.by_size.shape == (RESIDUAL[name] + 1,)


def test_a_vision_transformer():
    """Sums over the members inside J are the output with all other branches put to 0."""
    net, x = gated(small_architecture("vit"), "dgn"), small_input("vit", 1)
    parts = assert_complete(net, x, 1)
    assert len(parts.blocks) == 8
    example = one_example(net, x)
    branches = [
        block.branch for block in residual_blocks(example.network.graph, recorded_values(example))
    ]
    for kept in ((), (0,), (1, 2), (0, 3, 7), (1, 3, 4, 5, 6)):
        off = {b for i, b in enumerate(branches) if i not in kept}
        inside = [v for member, v in parts.members.items() if set(member) <= set(kept)]
        assert math.fsum(inside) == pytest.approx(value_without(example, 1, off), rel=1e-9)


def value_without(example, output, off):
    """One output of the network with some values set to 0."""

    class Without(fx.Interpreter):
        def run_node(self, n):
            value = super().run_node(n)
            return torch.zeros_like(value) if n in off else value

    with torch.no_grad():
        return float(Without(example.network).run(*example.arguments).reshape(-1)[output])


@pytest.mark.parametrize("options", OPTIONS)
def test_every_kind(options):
    assert_complete(gated(PostActivation(), **OPTIONS[options]), images(1))
    pooled = nn.Sequential(nn.MaxPool2d(2), PostActivation())
    assert_complete(gated(pooled.double(), **OPTIONS[options]), images(1, size=6))


@settings(max_examples=40)
@given(random_networks(Features(steps=9)), st.sampled_from(sorted(OPTIONS)))
def test_random_graphs(model, options):
    net = gated(model, **OPTIONS[options])
    x = torch.randn(1, *model.input_shape, dtype=torch.float64)
    try:
        assert_complete(net, x, 1)
    except PathKernelError as error:
        assert "no residual block" in str(error)  # noqa: PT017  a graph without one


class Blocks(nn.Module):
    """A projection, a subtracted block inside another, and sizes read off tensors."""

    def __init__(self):
        super().__init__()
        self.first, self.project = nn.Conv1d(1, 2, 1), nn.Conv1d(2, 3, 1)
        self.long = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.LeakyReLU(), nn.Conv1d(3, 3, 1))
        self.outer, self.inner = nn.Conv1d(3, 3, 1), nn.Conv1d(3, 3, 1)
        self.last = nn.Linear(12, 2)

    def forward(self, x):
        examples = x.shape[0]
        x = F.leaky_relu(self.first(x))
        x = F.leaky_relu(self.long(x) + self.project(x))
        y = F.leaky_relu(self.outer(x))
        y = torch.sub(y, self.inner(y), alpha=0.5)
        a, b = torch.chunk(x + y, 2, 2)
        x = torch.cat([a, b + 1.0], 2).view(examples, -1)
        return self.last(x)


def test_projections_nested_blocks_and_sizes():
    net = gated(Blocks().double(), "dnn")
    x = torch.randn(1, 1, 4, dtype=torch.float64)
    parts = assert_complete(net, x, 1)
    assert parts.blocks == ("long.2", "inner", "inner")
    assert all(parts.members[member] == 0 for member in [(1,), (0, 1)])  # inner is in outer alone


def test_too_many_members_are_refused_with_their_number():
    net = gated(small_architecture("resnet56"), "dlgn")
    x = small_input("resnet56", 1)
    with pytest.raises(
        TooManyPathsError, match=rf"27 residual blocks.*{2**27}.*at most 1024.*by='size'"
    ):
        ensemble_contributions(net, x, 0)
    net = gated(DenseBlocks(3), "dlgn")
    x = torch.randn(1, 3).double()
    assert len(ensemble_contributions(net, x, 0, limit=8).members) == 8
    with pytest.raises(TooManyPathsError, match="at most 7"):
        ensemble_contributions(net, x, 0, limit=7)


def test_wrong_arguments():
    net = gated(DenseBlocks(1), "dlgn")
    x = torch.randn(1, 3).double()
    with pytest.raises(PathKernelError, match="expected 'member' or 'size', got 'block'"):
        ensemble_contributions(net, x, 0, by="block")
    with pytest.raises(PathKernelError, match="limit: expected a whole number from 1 on"):
        ensemble_contributions(net, x, 0, limit=0)
    with pytest.raises(PathKernelError, match=r"output: expected a whole number from 0 to 0"):
        ensemble_contributions(net, x, 1)
    plain = dv.disentangle(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), "dnn")
    with pytest.raises(PathKernelError, match="no residual block"):
        ensemble_contributions(plain, torch.randn(1, 3), 0)
    assert isinstance(ensemble_contributions(net, x, 0, by="size").by_size, np.ndarray)
