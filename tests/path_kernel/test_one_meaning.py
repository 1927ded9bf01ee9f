"""`npk`, `expected_ntk`, `npk_features` and `empirical_ntk` speak of one network of random weights.

Weights of +-sigma are independent, so the mean over all signs of a tiny network's weights and
biases is exact. What is drawn is written down here by hand for every network.

- The mean of `empirical_ntk` is `expected_ntk`; the mean of f f' is `npk`: for all combinations of
  biases, their variance and batch norm.
- So too with constants and biases on either side, before and behind the first weights, and with
  norms that two branches share.
- `npk_features` are unbiased for the same options.
- Constants (gamma, LayerScale, learnable scalars, slopes of PReLU) are neither drawn nor trained;
  `requires_grad` plays no part.
- The kernel machines pass the options on.
- A network whose output has no axis of logits, (n,), is one of one logit.
"""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

import dualview as dv
from dualview.path_kernel.features import npk_features
from dualview.path_kernel.machines import NPKClassifier, NPKFeatureClassifier
from dualview.path_kernel.random_weights import kernel_network, weight_deviations
from tests.cases import enliven, relative_error

pytestmark = pytest.mark.filterwarnings("ignore::dualview.DualviewWarning")


def conv(inputs, outputs, size=1):
    return nn.Conv2d(inputs, outputs, (1, size), bias=False)


class Residual(nn.Module):
    """relu(bn(conv(h)) + h): a batch norm in a branch."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.norm = conv(1, 1, 2), conv(1, 1), nn.BatchNorm2d(1)
        self.head = nn.Linear(1, 1)

    def forward(self, x):
        h = torch.relu(self.first(x))
        h = torch.relu(self.norm(self.second(h)) + h)
        return self.head(h.mean((2, 3)))


class Scaled(nn.Module):
    """LayerScale (C, 1, 1) in a branch, a temperature, PReLU."""

    def __init__(self):
        super().__init__()
        self.first, self.second = conv(1, 2), nn.Conv2d(2, 2, 1, groups=2, bias=False)
        self.scale = nn.Parameter(torch.tensor([0.5, -2.0]).view(2, 1, 1))
        self.temperature = nn.Parameter(torch.tensor(3.0))
        self.activate = nn.PReLU(init=0.3)
        self.head = nn.Linear(2, 1)

    def forward(self, x):
        h = torch.relu(self.first(x))
        h = h + self.scale * self.activate(self.second(h))
        return self.head(h.mean((2, 3)) / self.temperature)


class Batched(nn.Module):
    """LayerScale (1, C, 1, 1) on what a batch norm made of the input, which is normalised."""

    def __init__(self):
        super().__init__()
        self.norm, self.first, self.head = nn.BatchNorm2d(1), conv(1, 2), nn.Linear(2, 1)
        self.scale = nn.Parameter(torch.tensor([0.5, -2.0]).view(1, 2, 1, 1))

    def forward(self, x):
        h = torch.relu(self.scale * self.first(self.norm(x / 0.25)))
        return self.head(h.mean((2, 3)))


def dense():
    return nn.Sequential(nn.Flatten(), nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1))


def dense_with_norm():
    layers = [nn.Linear(2, 1, bias=False), nn.BatchNorm1d(1), nn.ReLU(), nn.Linear(1, 1)]
    return nn.Sequential(nn.Flatten(), *layers)


NETWORKS = {
    "dense": (dense, {"1.weight": 2, "3.weight": 1}, ["1.bias", "3.bias"]),
    "dense with norm": (dense_with_norm, {"1.weight": 2, "4.weight": 1}, ["2.bias", "4.bias"]),
    "residual": (
        Residual,
        {"first.weight": 2, "second.weight": 1, "head.weight": 1},
        ["norm.bias", "head.bias"],
    ),
    "layer scale": (
        Scaled,
        {"first.weight": 1, "second.weight": 1, "head.weight": 2},
        ["head.bias"],
    ),
    "batched scale": (Batched, {"first.weight": 1, "head.weight": 2}, ["norm.bias", "head.bias"]),
}
"""Model, the fan-in of every weight, the biases."""

OPTIONS = [
    {"biases": False, "batch_norm": "identity"},
    {"biases": False, "batch_norm": "scale"},
    {"biases": True, "batch_norm": "scale", "bias_variance": 0.25},
    {"biases": True, "batch_norm": "identity", "bias_variance": 0.25},
]


def network(name):
    """A gated network whose gates are open in part, and examples."""
    model = NETWORKS[name][0]
    for seed in range(50):
        torch.default_generator.manual_seed(seed)
        net = dv.disentangle(enliven(model().double()), "dnn").eval()
        x = torch.randn(3, 1, 1, 2, dtype=torch.float64)
        if dv.npk(net, x).diagonal().min() > 0:
            return net, x
    raise AssertionError("only dead networks")


def signs(name, net, biases, bias_variance=1.0, **_):
    """All parameters that are drawn, for every pattern of signs: name -> (patterns, *shape)."""
    _, weights, added = NETWORKS[name]
    sigma = {n: math.sqrt(1 / inputs) for n, inputs in weights.items()}
    sigma |= dict.fromkeys(added, math.sqrt(bias_variance)) if biases else {}
    shapes = {n: net.weights_network.get_parameter(n).shape for n in sigma}
    sizes = [math.prod(shape) for shape in shapes.values()]
    patterns = torch.tensor(list(itertools.product((1.0, -1.0), repeat=sum(sizes)))).double()
    parts = patterns.split(sizes, 1)
    return {n: sigma[n] * part.view(-1, *shapes[n]) for n, part in zip(sigma, parts, strict=True)}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_mean_of_products_is_the_npk(name, options):
    net, x = network(name)
    drawn = signs(name, net, **options)
    own = kernel_network(net, batch_norm=options["batch_norm"], biases=options["biases"])
    gates, switches = net.gates_and_switches(x)
    values = vmap(lambda w: functional_call(own, w, (x, *gates, *switches))[:, 0])(drawn)
    mean = values.T @ values / len(values)
    assert relative_error(dv.npk(net, x, **options), mean) < 1e-12


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_mean_of_empirical_ntk_is_the_expected_one(name, options):
    net, x = network(name)
    drawn = signs(name, net, **options)
    given = {k: v for k, v in options.items() if k != "bias_variance"}
    count = len(next(iter(drawn.values())))
    draws = [
        dv.empirical_ntk(net, x, weights={n: w[k] for n, w in drawn.items()}, **given)
        for k in range(count)
    ]
    assert relative_error(dv.expected_ntk(net, x, **options), sum(draws) / count) < 1e-12


class Spelled(nn.Module):
    """Constants, biases and shared norms between two convolutions, as `use` puts them."""

    def __init__(self, use):
        super().__init__()
        self.use = use
        self.first, self.second = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1, bias=False)
        self.norm, self.head = nn.BatchNorm2d(2), nn.Linear(1, 1, bias=False)
        self.positions = nn.Parameter(torch.randn(1, 1, 2))
        self.channels = nn.Parameter(torch.randn(2, 1, 1))

    def forward(self, x):
        return self.head(self.use(self, x).mean((2, 3)))


leaky = partial(nn.functional.leaky_relu, negative_slope=0.2)


def twice(m, h):
    return m.second(leaky(m.norm(h)) + m.norm(2 * h))


SPELLED = {
    "normalised input": lambda m, x: m.second(leaky(m.first((x - 0.5) / 0.25))),
    "constant on the left": lambda m, x: m.second(1 - leaky(m.first(x))),
    "constant on the right": lambda m, x: m.second(leaky(m.first(x)) * 2 + 0.3),
    "alpha": lambda m, x: m.second(torch.add(2.0, leaky(m.first(x)), alpha=3)),
    "method": lambda m, x: m.second(leaky(m.first(x)).sub(3, alpha=2)),
    "positions": lambda m, x: m.second(leaky(m.first(x + m.positions))),
    "channels": lambda m, x: m.second(leaky(m.first(x)) + m.channels),
    "scale": lambda m, x: m.second(m.channels * leaky(m.first(x))),
    "constant output": lambda m, x: 1 - m.second(leaky(m.first(x))),
    "norm of the input": lambda m, x: m.second(
        leaky(m.first(m.norm(torch.cat([x, 2 * x], 1))[:, :1]))
    ),
    "shared norm": lambda m, x: twice(m, m.first(x)),
}


def all_random(model):
    for parameter in model.parameters():
        nn.init.normal_(parameter)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", SPELLED)
def test_spellings(name, options):
    """Exactly, over the signs of all that `weight_deviations` draws."""
    torch.manual_seed(3)
    kind = "dgn" if name == "shared norm" else "dnn"
    model = Spelled(SPELLED[name]).double()
    net = dv.disentangle(enliven(model), kind, initialise=all_random).eval()
    x = torch.randn(3, 1, 1, 2, dtype=torch.float64)
    own = kernel_network(net, batch_norm=options["batch_norm"], biases=options["biases"])
    law = {k: v for k, v in options.items() if k != "batch_norm"}
    sigma = {n: s for n, s in weight_deviations(own, **law).items() if s}
    shapes = {n: own.get_parameter(n).shape for n in sigma}
    sizes = [math.prod(shape) for shape in shapes.values()]
    patterns = torch.tensor(list(itertools.product((1.0, -1.0), repeat=sum(sizes)))).double()
    parts = zip(sigma, patterns.split(sizes, 1), strict=True)
    drawn = {n: sigma[n] * part.view(-1, *shapes[n]) for n, part in parts}
    gates, switches = net.gates_and_switches(x)
    given = (x, *gates, *switches)

    def one(weights, *example):
        return functional_call(own, weights, tuple(v[None] for v in example))[0, 0]

    axes = (None, *[0] * len(given))
    values = vmap(lambda w: vmap(one, axes)(w, *given))(drawn)
    slopes = vmap(lambda w: vmap(grad(one), axes)(w, *given))(drawn)
    flat = torch.cat([slope.flatten(2) for slope in slopes.values()], 2)  # (patterns, n, weights)
    npk = values.T @ values / len(values)
    ntk = torch.einsum("pif,pjf->ij", flat, flat) / len(values)
    assert npk.abs().max() > 1e-6
    assert relative_error(dv.npk(net, x, **options), npk.detach()) < 1e-12
    assert relative_error(dv.expected_ntk(net, x, **options), ntk.detach()) < 1e-12


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_features_are_unbiased(options):
    net, x = network("residual")
    m = 2000
    features = npk_features(net, x, m, per_draw=1, **options) * math.sqrt(m)
    products = features[:, None] * features[None]
    error = (products.mean(-1) - dv.npk(net, x, **options)).abs()
    assert (error < 4.5 * products.std(-1) / math.sqrt(m) + 1e-15).all()


def test_biases_of_variance_0_are_trained():
    net, x = network("dense")
    options = {"biases": True, "bias_variance": 0.0}
    (gate,) = net.gates(x)
    flat = x.flatten(1)
    npk = flat @ flat.T / 2 * (gate @ gate.T)
    torch.testing.assert_close(dv.npk(net, x, **options), npk)
    by_biases = gate @ gate.T + 1
    expected = dv.expected_ntk(net, x) + by_biases
    torch.testing.assert_close(dv.expected_ntk(net, x, **options), expected)


@pytest.mark.parametrize(
    "kernel", [dv.npk, dv.expected_ntk, dv.empirical_ntk, npk_features], ids=lambda k: k.__name__
)
def test_frozen_parameters_count_as_others(kernel):
    net, x = network("residual")
    before = kernel(net, x, biases=True, batch_norm="scale")
    after = kernel(net.requires_grad_(False), x, biases=True, batch_norm="scale")
    torch.testing.assert_close(after, before, rtol=0, atol=0)


@pytest.mark.parametrize("machine", [NPKClassifier, NPKFeatureClassifier])
def test_machines_pass_the_options_on(machine):
    net, x = network("residual")
    x = torch.cat([x, -x, x * 2])
    y = np.arange(9) % 2
    options = {"biases": True, "bias_variance": 0.25, "batch_norm": "scale"}
    fitted = machine(net, ridge=0.1, **options).fit(x, y)
    if machine is NPKClassifier:
        gram = dv.npk(net, x, **options).numpy()
        expected = fitted.intercept_ + gram @ fitted.dual_coef_
    else:
        features = npk_features(net, x, fitted.n_features, **options).numpy()
        expected = fitted.intercept_ + features @ fitted.coef_
    np.testing.assert_allclose(
        fitted.decision_function(x), expected[:, 1] - expected[:, 0], rtol=1e-9, atol=1e-12
    )


class Scalar(nn.Module):
    """One number an example, with an axis for it or without."""

    def __init__(self, *, axis):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.axis = nn.Linear(3, 4), nn.Linear(4, 1), axis

    def forward(self, x):
        out = self.last(torch.relu(self.first(x)))
        return out if self.axis else out.squeeze(-1)


OF_ONE_LOGIT = {
    "npk": dv.npk,
    "expected_ntk": dv.expected_ntk,
    "empirical_ntk": dv.empirical_ntk,
    "sum of logits": partial(dv.empirical_ntk, output="sum", biases=True),
    "ntk_spread": lambda net, x: dv.ntk_spread(net, x, draws=3).mean,
    "npk_features": lambda net, x: npk_features(net, x, 5, per_draw=1),
    "full NTK": lambda net, x: torch.tensor(dv.sum_of_logits_error(net, x).relative),
    "paths": lambda net, x: torch.tensor(dv.top_paths(net, x[:1], 0, 3).magnitude),
    "contributions": lambda net, x: torch.from_numpy(
        dv.input_contributions(net, x[:1], 0).coordinates
    ),
}


@pytest.mark.parametrize("view", OF_ONE_LOGIT.values(), ids=OF_ONE_LOGIT)
def test_an_output_without_an_axis(view):
    x = torch.randn(3, 3, dtype=torch.float64)
    bare, whole = (
        dv.disentangle(Scalar(axis=axis).double(), "dnn", example_input=x) for axis in (False, True)
    )
    assert bare(x).shape == (3,)
    torch.testing.assert_close(view(bare, x), view(whole, x), rtol=1e-12, atol=0)
