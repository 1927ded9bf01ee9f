"""The NTK's variance at finite width.

- It equals the average over all signs of the weights (kurtosis 1), exactly, for soft and hard
  gates, unequal scales, data and ones.
- It equals the variance of drawn Gaussian and uniform NTKs within their error.
- Mean and `expected_ntk` agree; widening by copies of units is what `needed_width` says it is.
- Convolutions, pools and pads over all signs, too; large images are refused by their bytes, other
  networks by their operation.
"""

import itertools
import math

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.architectures import build
from dualview.errors import PathKernelError
from dualview.path_kernel.concentration import needed_width, ntk_variance
from dualview.path_kernel.kernel import weight_layers

D = torch.float64


def network(widths=(2, 3, 2, 1), gate="soft", weights_input="data"):
    torch.manual_seed(1)
    layers = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b, bias=False), nn.ReLU()]
    return dv.disentangle(
        nn.Sequential(*layers[:-1]).double(), "dgn", gate=gate, weights_input=weights_input, seed=0
    )


def ntks(net, x, draws):
    """The NTK (draws, n, n) of each set of weights, by autograd from the definition."""
    gates = net.gates(x)
    layers = dict(net.weights_network.named_parameters())

    def ntk(weights):
        def output(parameters, index):
            inputs = (x[index : index + 1], *(g[index : index + 1] for g in gates))
            return torch.func.functional_call(net.weights_network, parameters, inputs)[0, 0]

        rows = []
        for index in range(len(x)):
            found = torch.func.grad(output)(weights, index)
            rows.append(torch.cat([found[name].flatten() for name in layers]))
        rows = torch.stack(rows)
        return rows @ rows.T

    return torch.func.vmap(ntk)(draws)


def scaled(net, c):
    """Standard deviation of each weight layer's weights, by parameter name."""
    layers = weight_layers(net)
    scales = dict.fromkeys(layers, c) if isinstance(c, float) else c
    names = [name for name, _ in net.weights_network.named_parameters()]
    pairs = zip(names, layers.items(), strict=True)
    return {name: scales[layer] / math.sqrt(inputs) for name, (layer, inputs) in pairs}


@pytest.mark.parametrize("weights_input", ["data", "ones"])
@pytest.mark.parametrize("gate", ["soft", "hard"])
def test_average_over_all_signs(gate, weights_input):
    net = network(gate=gate, weights_input=weights_input)
    over_all_signs(net, torch.randn(3, 2, dtype=D))


def over_all_signs(net, x):
    c = dict(zip(weight_layers(net), (0.7, 1.3, 0.9), strict=False))
    shapes = {name: p.shape for name, p in net.weights_network.named_parameters()}
    count = sum(shape.numel() for shape in shapes.values())
    assert count <= 14
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=D)] * count)
    draws, at = {}, 0
    for name, deviation in scaled(net, c).items():
        shape = shapes[name]
        draws[name] = deviation * signs[:, at : at + shape.numel()].reshape(-1, *shape)
        at += shape.numel()
    found = ntks(net, x, draws)
    torch.testing.assert_close(dv.expected_ntk(net, x, c=c), found.mean(0))
    expected = found.var(0, correction=0)
    torch.testing.assert_close(ntk_variance(net, x, c=c, kurtosis=1.0), expected)


def convolution(*layers, **options):
    return nn.Conv1d(*layers, bias=False, **options)


GAP = nn.AdaptiveAvgPool1d(1), nn.Flatten()


class Summed(nn.Module):
    """Twice as many positions, then their sum."""

    def forward(self, x):
        return nn.functional.interpolate(x, scale_factor=2).sum(-1)


CONVOLUTIONAL = {
    "global pool, circular": (
        convolution(1, 2, 3, padding=1, padding_mode="circular"),
        nn.ReLU(),
        convolution(2, 1, 3, padding=1, padding_mode="circular"),
        nn.ReLU(),
        *GAP,
        nn.Linear(1, 1, bias=False),
    ),
    "global pool, zeros, stride": (
        convolution(1, 2, 3, padding=1, stride=2),
        nn.ReLU(),
        convolution(2, 2, 1),
        nn.ReLU(),
        *GAP,
        nn.Linear(2, 1, bias=False),
    ),
    "flattened": (
        convolution(1, 2, 2, dilation=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4, 2, bias=False),
        nn.ReLU(),
        nn.Linear(2, 1, bias=False),
    ),
    "pools before and behind gates": (
        nn.CircularPad1d((1, 0)),
        convolution(1, 2, 2),
        nn.AvgPool1d(2, 1),
        nn.ReLU(),
        nn.AvgPool1d(2),
        convolution(2, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2, 1, bias=False),
    ),
    "interpolated and summed": (
        *(convolution(1, 2, 2), nn.ReLU(), convolution(2, 2, 2, stride=2), nn.ReLU(), Summed()),
        nn.Linear(2, 1, bias=False),
    ),
    "ends in a convolution": (convolution(1, 2, 3), nn.ReLU(), convolution(2, 1, 2), *GAP),
}


@pytest.mark.parametrize("gate", ["soft", "hard"])
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutions_over_all_signs(name, gate):
    torch.manual_seed(4)
    model = nn.Sequential(*CONVOLUTIONAL[name]).double()
    net = dv.disentangle(model, "dgn", gate=gate, seed=0)
    over_all_signs(net, torch.randn(2, 1, 4, dtype=D))


def test_normal_convolutions_within_the_error_of_draws():
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(3, 3, 2, bias=False)
    layers += nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1, bias=False)
    net = dv.disentangle(nn.Sequential(*layers).double(), "dlgn", seed=0)
    x = torch.randn(2, 2, 3, 3, dtype=D)
    got, found = ntk_variance(net, x), dv.ntk_spread(net, x, draws=3000)
    assert bool(((got - found.variance).abs() < 4 * found.variance_error).all())
    assert bool((found.variance_error < 0.2 * got).all())
    by_parts = ntk_variance(net, x, memory=1.5e6)
    torch.testing.assert_close(by_parts, got)
    wide = needed_width(net, x, 0.4)
    torch.testing.assert_close(
        wide.spread, got.diagonal().sqrt() / dv.expected_ntk(net, x).diagonal()
    )
    assert len(wide.widths) == 2


def test_large_images_are_refused_beforehand():
    net = dv.disentangle(build("c4gap", num_classes=2, input_shape=(1, 32, 32), width=2), "dlgn")
    with pytest.raises(PathKernelError, match=r"memory: expected at least .* 1024 positions"):
        ntk_variance(net, torch.randn(1, 1, 32, 32))


@pytest.mark.parametrize("law", ["normal", "uniform"])
def test_within_the_error_of_draws(law):
    net, x = network((3, 4, 3, 3, 1)), torch.randn(2, 3, dtype=D)
    shapes = {name: p.shape for name, p in net.weights_network.named_parameters()}
    torch.manual_seed(2)
    draws = {}
    for name, deviation in scaled(net, 1.1).items():
        drawn = torch.randn(20_000, *shapes[name], dtype=D)
        if law == "uniform":
            drawn = (2 * torch.rand(20_000, *shapes[name], dtype=D) - 1) * math.sqrt(3)
        draws[name] = deviation * drawn
    found = ntks(net, x, draws)
    squares = (found - found.mean(0)) ** 2
    error = squares.std(0) / math.sqrt(len(found))
    kurtosis = 3.0 if law == "normal" else 9 / 5
    got = ntk_variance(net, x, c=1.1, kurtosis=kurtosis)
    assert bool(((got - squares.mean(0)).abs() < 5 * error).all())
    assert bool((error < 0.2 * got.abs()).all())


def test_two_sets_of_examples():
    net, x, y = network(), torch.randn(3, 2, dtype=D), torch.randn(2, 2, dtype=D)
    whole = ntk_variance(net, torch.cat([x, y]))
    torch.testing.assert_close(ntk_variance(net, x, y), whole[:3, 3:])


def test_needed_width_against_copies_of_units():
    torch.manual_seed(3)
    net, x = network((6, 4, 1)), torch.randn(4, 6, dtype=D)
    found = needed_width(net, x, 0.5)
    variance = ntk_variance(net, x).diagonal()
    torch.testing.assert_close(found.spread, variance.sqrt() / dv.expected_ntk(net, x).diagonal())
    copies = math.ceil(found.factor)
    assert copies > 1
    assert found.widths == (math.ceil(4 * found.factor),)
    assert _spread_of_copies(net, x, copies).max() <= 0.5
    assert _spread_of_copies(net, x, copies - 1).max() > 0.5


def _spread_of_copies(net, x, copies):
    """The spread of a network whose one gated layer has every unit `copies` times."""
    weight = dict(net.gating_network.named_parameters())["0.weight"].detach()
    model = nn.Sequential(
        nn.Linear(6, 4 * copies, bias=False), nn.ReLU(), nn.Linear(4 * copies, 1, bias=False)
    ).double()
    model[0].weight.data = weight.repeat(copies, 1)
    wide = dv.disentangle(model, "dgn", seed=0)
    return ntk_variance(wide, x).diagonal().sqrt() / dv.expected_ntk(wide, x).diagonal()


def test_what_is_refused():
    residual = build("resnet20", num_classes=2, input_shape=(1, 4, 4), width=1)
    pooled = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    grouped = nn.Sequential(nn.Conv2d(2, 2, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 1))
    for model, channels in ((residual, 1), (pooled.append(nn.Linear(2, 1)), 1), (grouped, 2)):
        net = dv.disentangle(model, "dnn", example_input=torch.randn(2, channels, 4, 4))
        with pytest.raises(PathKernelError, match=r"chains of dense layers .*ntk_spread"):
            ntk_variance(net, torch.randn(2, channels, 4, 4))
    padded = nn.Sequential(nn.ConstantPad1d(1, 2.0), nn.Conv1d(1, 2, 3), nn.ReLU(), *GAP)
    with pytest.raises(PathKernelError, match=r"ConstantPad1d .*ntk_spread"):
        ntk_variance(dv.disentangle(padded.append(nn.Linear(2, 1)), "dnn"), torch.randn(2, 1, 4))
    mapped = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Conv1d(2, 1, 1))
    with pytest.raises(PathKernelError, match="no positions left"):
        ntk_variance(dv.disentangle(mapped, "dnn"), torch.randn(2, 1, 4))
    net, x = network(), torch.randn(2, 2, dtype=D)
    for wrong in ({"kurtosis": 0.5}, {"c": -1.0}, {"gates": "soft"}):
        with pytest.raises(PathKernelError):
            ntk_variance(net, x, **wrong)
    with pytest.raises(PathKernelError, match="no width"):
        needed_width(net, x, 1e-9)
