"""Parts that sum to the output.

- Completeness: on every reference architecture, every kind of network and random graphs, units plus
  skips plus biases, and coordinates plus biases, are the output to 1e-10, for every gated layer.
- Parts are the sums over the paths that the oracle lists: through a unit, from a coordinate or a
  bias, past a layer from the input or from a bias.
- Any affine operation will do, whether or not paths can be followed through it; detach hides none,
  nor does a mode without derivatives.
- Layers out of range are refused.
"""

import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.errors import PathKernelError
from dualview.path_attribution.contributions import (
    LayerContributions,
    input_contributions,
    layer_contributions,
)
from dualview.path_enumeration import paths
from dualview.path_enumeration.bundles import features_of
from dualview.path_enumeration.example_values import evaluated_inputs
from tests.cases import ARCHITECTURE_CASES, small_architecture, small_input
from tests.path_attribution.listed import listed_paths
from tests.path_attribution.test_strongest_paths import OPTIONS
from tests.path_enumeration.models import DenseBlocks, PostActivation, dense, gated, images
from tests.random_networks import random_networks


def assert_complete(net, x, output, layers):
    """Both decompositions sum to the output, relative to the size of their parts."""
    with torch.no_grad():
        logit = float(net(x).reshape(-1)[output])
    parts = input_contributions(net, x, output)
    everything = [*parts.coordinates.ravel(), *parts.biases.values()]
    _assert_sum(everything, parts.total, logit)
    assert parts.from_input + parts.from_biases == pytest.approx(math.fsum(everything))
    assert parts.coordinates.shape == x.shape[1:]
    for number in layers:
        layer = layer_contributions(net, x, output, number)
        _assert_sum([*layer.units.ravel(), layer.skips, layer.biases], layer.total, logit)
        assert layer.units.shape == net.gates(x)[number].shape[1:]
        assert (layer.layer, layer.name) == (
            number % net.n_gates,
            f"gate_{number % net.n_gates + 1}",
        )


def _assert_sum(parts, total, logit):
    size = 1e-10 * max(math.fsum(map(abs, parts)), 1e-300)
    assert abs(math.fsum(parts) - total) <= size
    assert abs(total - logit) <= size + 1e-10 * abs(logit)


ALL_WAYS = [("fc", False), ("resnet20", True), ("vgg16", True)]
"""Taken apart in every way; the others in one, and random graphs in all."""


@pytest.mark.parametrize(
    ("name", "batch_norm", "options"),
    [
        (*case, o)
        for case in ARCHITECTURE_CASES
        for o in OPTIONS
        if o == "dgn" or case in ALL_WAYS
        if o != "switches" or case[0] == "vgg16"  # which has max pools
    ],
)
def test_every_architecture(name, batch_norm, options):
    net = gated(small_architecture(name, batch_norm), **OPTIONS[options])
    last = net.n_gates - 1
    assert_complete(net, small_input(name, 1), 1, sorted({0, last // 2, last}))


@settings(max_examples=60)
@given(random_networks(), st.sampled_from(sorted(OPTIONS)), st.integers(0, 1))
def test_random_graphs(model, options, output):
    net = gated(model, **OPTIONS[options])
    x = torch.randn(1, *model.input_shape, dtype=torch.float64)
    assert_complete(net, x, output, range(net.n_gates))


NETWORKS = {
    "dense": lambda: (dense(3, 3, 2, 2, bias=True), torch.randn(1, 3).double()),
    "pools and skips": lambda: (PostActivation(), images(1)),
    "dense blocks": lambda: (DenseBlocks(2), torch.randn(1, 3).double()),
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_parts_are_sums_over_paths(name, options):
    model, x = NETWORKS[name]()
    net = gated(model, **OPTIONS[options])
    every = listed_paths(net, x, 0)
    parts = input_contributions(net, x, 0)
    starts = defaultdict(list)
    for path in every:
        starts[path.key[0]].append(path.contribution)
    for index in np.ndindex(*parts.coordinates.shape):
        assert parts.coordinates[index] == pytest.approx(math.fsum(starts[index]), abs=1e-12)
    assert parts.from_biases == pytest.approx(math.fsum(starts[None]), abs=1e-12)
    for number in range(net.n_gates):
        layer = layer_contributions(net, x, 0, number)
        through, skips, biases = defaultdict(list), [0.0], [0.0]
        for path in every:
            units = [place for site, place in path.key[1] if site == layer.name]
            kept = through[units[0]] if units else biases if path.key[0] is None else skips
            kept.append(path.contribution)
        for index in np.ndindex(*layer.units.shape):
            assert layer.units[index] == pytest.approx(math.fsum(through[index]), abs=1e-12)
        assert layer.skips == pytest.approx(math.fsum(skips), abs=1e-12)
        assert layer.biases == pytest.approx(math.fsum(biases), abs=1e-12)


def test_biases_by_layer():
    net = gated(PostActivation(), "dlgn")
    x = images(1)
    every = [path for path in paths(net, x.shape[1:]) if path.output == 0 and path.source is None]
    features = features_of([[path] for path in every], evaluated_inputs(net, x))[0].tolist()
    parameters = dict(net.weights_network.named_parameters())
    expected = defaultdict(float)
    for path, feature in zip(every, features, strict=True):
        values = [float(parameters[w.parameter][w.coordinates].detach()) for w in path.weights]
        # A path from batch norm's mean meets no bias: its first weight is that of `strided`.
        name = path.weights[0].parameter
        layer = name.removesuffix(".bias") if name.endswith("bias") else "norm"
        expected[layer] += feature * math.prod(values)
    assert input_contributions(net, x, 0).biases == {
        name: pytest.approx(value, abs=1e-12) for name, value in expected.items()
    }


class Odd(nn.Module):
    """Operations through which no path can be followed, a detach, and a change of type."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 2, 2), nn.Linear(32, 2)

    def forward(self, x):
        x = F.relu(self.first(x))
        x = torch.einsum("nchw,wk->nchk", x, torch.ones(3, 3).double() / 3)
        x = F.fold(F.unfold(x, 2).detach(), (3, 3), 2)
        x = F.pad(x.to(x.dtype), (1, 0, 0, 1), value=0.5)
        return self.last(F.relu(x).flatten(1))


def test_any_affine_operation_and_detach():
    net = dv.disentangle(Odd().double(), "dnn").eval()
    assert_complete(net, torch.randn(1, 1, 4, 4).double(), 1, [0, 1])
    parts = input_contributions(net, torch.randn(1, 1, 4, 4).double(), 1)
    assert set(parts.biases) == {"first", "pad", "last"}
    assert np.abs(parts.coordinates).max() > 0


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_derivatives_do_not_matter(mode):
    net = gated(PostActivation(), "dlgn")
    x = images(1)
    layer, parts = layer_contributions(net, x, 0, 1), input_contributions(net, x, 0)
    with mode():
        same, also = layer_contributions(net, x + 0, 0, 1), input_contributions(net, x + 0, 0)
    np.testing.assert_array_equal(layer.units, same.units)
    np.testing.assert_array_equal(parts.coordinates, also.coordinates)
    assert parts.biases == also.biases


def test_units_in_order_of_size():
    layer = LayerContributions(
        0, 0, "gate_1", np.array([[0.5, -2.0], [1.0, 0.5]]), 0.0, 0.0, total=0.0
    )
    assert layer.top(3) == [((0, 1), -2.0), ((1, 0), 1.0), ((0, 0), 0.5)]
    assert len(layer.top(10)) == 4
    assert layer.through == 0


def test_layers_count_from_0_or_from_the_end():
    net = gated(dense(3, 3, 2, 2), "dlgn")
    x = torch.randn(1, 3).double()
    last, same = (layer_contributions(net, x, 0, number) for number in (1, -1))
    np.testing.assert_array_equal(last.units, same.units)
    for wrong in (2, -3, 0.5, True, "gate_1"):
        with pytest.raises(PathKernelError, match=r"a whole number from -2 to 1, got"):
            layer_contributions(net, x, 0, wrong)
    with pytest.raises(PathKernelError, match=r"output: expected a whole number from 0 to 1"):
        layer_contributions(net, x, 2, 0)


def test_a_layer_that_the_output_does_not_need_adds_nothing():
    class Cut(nn.Module):
        def forward(self, x):
            x = F.relu(x)
            return 3 * F.leaky_relu(x[:, :1] - 1) + 0 * F.relu(x[:, 1:])

    net = dv.disentangle(Cut(), "dnn")
    layer = layer_contributions(net, torch.tensor([[2.0, 5.0]]).double(), 0, 2)
    np.testing.assert_array_equal(layer.units, [0.0])
    assert (layer.skips, layer.biases, layer.total) == (6.0, -3.0, 3.0)


def test_short_texts():
    net = gated(PostActivation(), "dlgn")
    x = images(1)
    layer, parts = layer_contributions(net, x, 0, 1), input_contributions(net, x, 0)
    said = repr(layer)
    assert said.startswith(f"LayerContributions(output 0: {layer.total:.6g} = ")
    assert "\n" not in said
    assert repr(parts).startswith(f"InputContributions(output 0: {parts.total:.6g} = ")


def test_the_difference_of_two_outputs():
    net, x = gated(small_architecture("vconv"), kind="dlgn", seed=0), small_input("vconv", 1)
    both = [input_contributions(net, x, output) for output in (1, 0)]
    found = input_contributions(net, x, 1, against=0)
    assert found.coordinates == pytest.approx(both[0].coordinates - both[1].coordinates, abs=1e-12)
    assert found.total == pytest.approx(both[0].total - both[1].total, abs=1e-12)
    layers = [layer_contributions(net, x, output, 1) for output in (1, 0)]
    layer = layer_contributions(net, x, 1, 1, against=0)
    assert layer.units == pytest.approx(layers[0].units - layers[1].units, abs=1e-12)
    _assert_sum([layer.through, layer.skips, layer.biases], layer.total, found.total)
    assert "output 1 - output 0" in repr(layer)
    with pytest.raises(PathKernelError, match="against: expected another output than 1"):
        input_contributions(net, x, 1, against=1)
    with pytest.raises(PathKernelError, match="against: expected a whole number"):
        layer_contributions(net, x, 1, 1, against=99)
