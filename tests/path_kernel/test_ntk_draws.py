"""The spread of drawn NTKs.

- Mean, variance and errors are those of `empirical_ntk` draw by draw, whatever the graph, the
  options and the memory; of two sets of examples, too.
- Dense: within its standard error of the closed form; the error is the right one.
- Layers of scales of their own; weights that two layers share have one.
"""

import itertools
import math

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.errors import PathKernelError
from dualview.path_kernel.kernel import weight_layers
from dualview.path_kernel.ntk_draws import ntk_spread
from dualview.path_kernel.random_weights import draw_weights
from tests.cases import enliven, small_architecture, small_input

D = torch.float64


def dense(widths=(3, 6, 5, 1)):
    torch.manual_seed(1)
    pairs = itertools.pairwise(widths)
    layers = [m for a, b in pairs for m in (nn.Linear(a, b, bias=False), nn.ReLU())]
    return dv.disentangle(nn.Sequential(*layers[:-1]).double(), "dgn", seed=0)


@pytest.mark.parametrize("memory", [512e6, 1.0])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fc", {"output": 1}),
        ("c4gap", {"gates": "hard", "output": "sum"}),
        ("resnet20", {"biases": True, "batch_norm": "scale", "output": 1}),
    ],
)
def test_draw_by_draw(name, options, memory):
    model = enliven(small_architecture(name, name == "resnet20"))
    net = enliven(dv.disentangle(model, "dgn", seed=0).double()).eval()
    x, draws = small_input(name, 3).double(), 5
    kernels = []
    for k in range(draws):
        weights = draw_weights(net.weights_network, 7, k, biases=options.get("biases", False))
        kernels.append(dv.empirical_ntk(net, x, weights=weights, **options))
    kernels = torch.stack(kernels)
    found = ntk_spread(net, x, draws=draws, seed=7, memory=memory, **options)
    assert found.draws == draws
    off = kernels - kernels.mean(0)
    relative = kernels.std(0) / kernels.mean(0).abs()
    torch.testing.assert_close(found.mean, kernels.mean(0))
    torch.testing.assert_close(found.mean_error, kernels.std(0) / math.sqrt(draws))
    torch.testing.assert_close(found.variance, kernels.var(0))
    error = (off**2).std(0, correction=0) / math.sqrt(draws)
    torch.testing.assert_close(found.variance_error, error)
    torch.testing.assert_close(found.relative, relative)
    # what one draw adds to log(standard deviation / mean), by the delta method
    adds = off**2 / (2 * (off**2).mean(0)) - off / kernels.mean(0)
    expected = (off**2).mean(0).sqrt() / kernels.mean(0).abs() * adds.std(0, correction=0)
    torch.testing.assert_close(found.relative_error, expected / math.sqrt(draws))
    two = ntk_spread(net, x[:2], x[2:], draws=draws, seed=7, memory=memory, **options)
    torch.testing.assert_close(two.variance, found.variance[:2, 2:])


def test_closed_form_within_its_error():
    net, x = dense(), torch.randn(2, 3, dtype=D)
    c = dict(zip(weight_layers(net), (0.7, 1.3, 0.9), strict=True))
    exact = dv.ntk_variance(net, x, c=c)
    found = ntk_spread(net, x, c=c, draws=4000)
    assert bool(((found.variance - exact).abs() < 4 * found.variance_error).all())
    assert bool((found.variance_error < 0.15 * exact).all())
    mean = dv.expected_ntk(net, x, c=c)
    assert bool(((found.mean - mean).abs() < 4 * found.mean_error).all())
    relative = exact.sqrt() / mean.abs()
    assert bool(((found.relative - relative).abs() < 4 * found.relative_error).all())


def test_closed_gates():
    net = dense()
    found = ntk_spread(net, torch.zeros(1, 3, dtype=D), gates="hard", draws=2)
    assert found.mean.item() == found.variance.item() == found.variance_error.item() == 0
    assert found.relative.isnan().all()


class Shared(nn.Module):
    """One layer, called twice."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(3, 3, bias=False), nn.Linear(3, 1, bias=False)

    def forward(self, x):
        return self.last(torch.relu(self.layer(torch.relu(self.layer(x)))))


def test_shared_weights():
    torch.manual_seed(0)
    net, x = dv.disentangle(Shared().double(), "dgn", seed=0), torch.randn(2, 3, dtype=D)
    weights = [draw_weights(net.weights_network, 0, k) for k in range(3)]
    kernels = torch.stack([dv.empirical_ntk(net, x, weights=w) for w in weights])
    torch.testing.assert_close(ntk_spread(net, x, draws=3).variance, kernels.var(0))
    first, second, last = weight_layers(net)
    with pytest.raises(PathKernelError, match="share the weights"):
        ntk_spread(net, x, draws=3, c={first: 1.0, second: 2.0, last: 1.0})


def test_what_is_refused():
    net, x = dense(), torch.randn(1, 3, dtype=D)
    with pytest.raises(PathKernelError, match="beyond float64"):
        ntk_spread(net, x, c=1e90, draws=2)
    with pytest.raises(PathKernelError, match="beyond float32"):
        ntk_spread(net.float(), x.float(), c=1e8, draws=2)
