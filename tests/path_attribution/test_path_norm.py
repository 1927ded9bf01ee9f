"""The path norm, against the list of all paths.

- For every q, with and without biases, on dense, convolutional, pooled (averages and maxima) and
  residual networks with batch norm: the norm of the vector of listed path values.
- Rescaling a unit leaves it as it is; example, gates and kind of network do not matter.
- The magnitudes of the paths through each weight are sums over the list; what pruning takes from
  the norm; networks with switches are refused.
- It bounds the output.
- Norms beyond float64 have a logarithm; multipliers are refused.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import dualview as dv
from dualview.architectures import vit
from dualview.errors import PathKernelError
from dualview.path_attribution.path_norm import path_magnitudes, path_norm
from dualview.path_enumeration.paths import graph_of, walk
from tests.path_enumeration.models import Pooled, PostActivation, convolutional, dense, gated

CASES = {
    "dense": (lambda: dense(3, 4, 2, bias=True), (3,)),
    "convolutional": (lambda: convolutional((1, 2), bias=True), (1, 3, 3)),
    "average": (lambda: Pooled(nn.AvgPool2d(2, 1)), (1, 4, 4)),
    "maximum": (lambda: Pooled(nn.MaxPool2d(2, 1, padding=1)), (1, 4, 4)),
    "adaptive maximum": (lambda: Pooled(nn.AdaptiveMaxPool2d(2)), (1, 4, 4)),
    "residual": (lambda: PostActivation(bias=True), (1, 2, 2)),
}


def listed(net, shape, biases):
    """The values of listed paths."""
    parameters = dict(net.weights_network.named_parameters())
    for path in walk(graph_of(net, shape, biases=biases)):
        weights = (float(parameters[w.parameter][w.coordinates].detach()) for w in path.weights)
        yield path.coefficient * math.prod(weights)


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_every_path(name, biases):
    make, shape = CASES[name]
    net = gated(make(), "dgn", max_pool="switch" if "maximum" in name else None)
    for name, values in net.weights_network.named_buffers():
        if name.endswith("running_mean"):  # the list has a path for the mean beside beta's
            values.zero_()
    values = list(listed(net, shape, biases))
    for q in (0.5, 1, 2, 3):
        found = path_norm(net, torch.randn(shape).double(), q, biases=biases)
        expected = sum(abs(value) ** q for value in values) ** (1 / q)
        assert found == pytest.approx(expected, rel=1e-12)


def test_what_does_not_matter():
    model = dense(3, 4, 2, bias=True)
    x = torch.randn(5, 3).double()
    found = {path_norm(dv.disentangle(model, "dnn"), row) for row in x}
    found.add(path_norm(dv.disentangle(model, "dlgn", weights="copied"), x[:1]))
    assert len(found) == 1


def test_batch_norm_is_folded():
    norm = nn.BatchNorm1d(3).double()
    model = nn.Sequential(nn.Linear(2, 3), norm, nn.ReLU(), nn.Linear(3, 2)).double().eval()
    with torch.no_grad():
        for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            values.copy_(torch.rand(3) + 0.5)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        first = nn.Linear(2, 3).double()
        first.weight.copy_(scale[:, None] * model[0].weight)
        first.bias.zero_()
        folded = nn.Sequential(first, nn.ReLU(), model[3])
        without = path_norm(dv.disentangle(folded, "dnn"), torch.ones(2), 2, biases=False)
    net = dv.disentangle(model, "dnn")
    assert path_norm(net, torch.ones(2), 2, biases=False) == pytest.approx(without)
    shift = norm.bias - scale * norm.running_mean
    starts = torch.stack([shift, scale * model[0].bias])  # two paths: at the norm, at the layer
    more = ((starts[:, None] * model[3].weight) ** 2).sum() + (model[3].bias ** 2).sum()
    assert path_norm(net, torch.ones(2), 2) ** 2 == pytest.approx(without**2 + more.item())


@settings(max_examples=20)
@given(st.floats(0.01, 100), st.sampled_from([1, 2, 2.5]), st.integers(0, 3))
def test_rescaling_a_unit(scale, q, unit):
    model = dense(3, 4, 2, bias=True)
    before = path_norm(dv.disentangle(model, "dnn"), torch.ones(3).double(), q)
    with torch.no_grad():
        model[0].weight[unit] *= scale
        model[0].bias[unit] *= scale
        model[2].weight[:, unit] /= scale
    after = path_norm(dv.disentangle(model, "dnn"), torch.ones(3).double(), q)
    assert after == pytest.approx(before, rel=1e-10)


@pytest.mark.parametrize("name", ["dense", "convolutional", "average", "residual"])
def test_paths_through_each_weight(name):
    make, shape = CASES[name]
    net = gated(make(), "dgn")
    for buffer, values in net.weights_network.named_buffers():
        if buffer.endswith("running_mean"):
            values.zero_()
    parameters = dict(net.weights_network.named_parameters())
    expected = {key: torch.zeros_like(value) for key, value in parameters.items()}
    for path in walk(graph_of(net, shape)):
        size = abs(path.coefficient) * math.prod(
            abs(float(parameters[w.parameter][w.coordinates].detach())) for w in path.weights
        )
        for w in path.weights:
            expected[w.parameter].data[w.coordinates] += size
    found = path_magnitudes(net, torch.zeros(shape).double())
    assert list(found) == list(parameters)
    for key, value in expected.items():
        if not key.startswith("norm.weight"):  # a constant of every path, to the list
            torch.testing.assert_close(found[key], value.detach())


@pytest.mark.parametrize("name", ["dense", "residual"])
@torch.no_grad()
def test_what_pruning_takes_from_the_norm(name):
    """Of a batch norm, too, whose mean is not 0."""
    make, shape = CASES[name]
    net, x = dv.disentangle(make().eval(), "dnn"), torch.zeros(shape).double()
    taken, before = path_magnitudes(net, x), path_norm(net, x)
    for key, values in net.weights_network.named_parameters():
        entry = (len(values) - 1, *(0,) * (values.dim() - 1))
        if ".norm" in f".{key}":
            continue
        kept = values[entry].clone()
        values[entry] = 0
        assert before - path_norm(net, x) == pytest.approx(float(taken[key][entry]), abs=1e-9)
        values[entry] = kept


def test_switches_have_no_one_run():
    net = gated(Pooled(nn.MaxPool2d(2)), "dgn", max_pool="switch")
    with pytest.raises(PathKernelError, match="max_pool='average'"):
        path_magnitudes(net, torch.ones(1, 4, 4).double())


@pytest.mark.parametrize("name", ["dense", "maximum", "residual"])
def test_it_bounds_the_output(name):
    make, shape = CASES[name]
    net, x = dv.disentangle(make().eval(), "dnn"), torch.randn(20, *shape).double()
    largest = torch.maximum(x.abs().flatten(1).amax(1), torch.ones(20))
    with torch.no_grad():
        outputs = net(x).abs().sum(1)
    assert (outputs <= path_norm(net, x[0]) * largest).all()


def test_beyond_float64():
    model = nn.Sequential(*(m for _ in range(60) for m in (nn.Linear(4, 4, False), nn.ReLU())))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1e6)
    net = dv.disentangle(model.double(), "dnn")
    x = torch.ones(4).double()
    with pytest.raises(PathKernelError, match="Repair: log=True"):
        path_norm(net, x)
    # 4 inputs, 60 layers of 4 units: 4^61 paths of 10^(6 * 60)
    expected = 61 * math.log(4) + 360 * math.log(10)
    assert path_norm(net, x, log=True) == pytest.approx(expected)


def test_no_path_at_all():
    model = dense(2, 2, 1)
    with torch.no_grad():
        model[0].weight.zero_()
    net, x = dv.disentangle(model, "dnn"), torch.ones(2).double()
    assert path_norm(net, x) == 0
    assert path_norm(net, x, log=True) == -math.inf


def test_multipliers_are_refused():
    net = dv.disentangle(vit(3, (1, 4, 4), width=4, depth=1), "dnn")
    with pytest.raises(PathKernelError, match="got multipliers as well"):
        path_norm(net, torch.ones(1, 4, 4))
