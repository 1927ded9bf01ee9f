"""Fresh weights.

- Variances are 1 / fan-in by default or as given; biases 0 or of unit variance.
- Draws are reproducible one by one and independent of each other; the network is not changed.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.path_kernel.random_weights import bare_weights_network, draw_weights, fan_in
from tests.cases import small_architecture

LAYERS = {
    "dense": (nn.Linear(7, 3), 7),
    "convolution": (nn.Conv2d(4, 3, (2, 3)), 24),
    "grouped": (nn.Conv2d(4, 4, 3, groups=2), 18),
    "transposed": (nn.ConvTranspose1d(4, 6, 3, groups=2), 6),
}


@pytest.mark.parametrize("name", LAYERS)
def test_fan_in(name):
    layer, expected = LAYERS[name]
    assert fan_in(nn.Sequential(layer), "0.weight") == expected


def test_variances():
    network = nn.Sequential(nn.Linear(400, 300), nn.Linear(300, 200))
    weights = draw_weights(network, 0)
    assert weights["0.weight"].var() == pytest.approx(1 / 400, rel=0.02)
    assert not weights["0.bias"].any()
    given = {"0.weight": 2.0, "1.weight": 0.5}
    weights = draw_weights(network, 0, variances=given, biases=True)
    for name, variance in given.items():
        assert weights[name].var() == pytest.approx(variance, rel=0.02)
    assert weights["0.bias"].var() == pytest.approx(1, rel=0.2)


def test_draws_are_reproducible_and_apart():
    network = nn.Linear(30, 30)
    before = network.weight.detach().clone()
    one, again = draw_weights(network, 1, 5)["weight"], draw_weights(network, 1, 5)["weight"]
    others = [draw_weights(network, 1, 6)["weight"], draw_weights(network, 2, 5)["weight"]]
    assert torch.equal(one, again)
    for other in others:
        correlation = float((one * other).mean() * 30)
        assert abs(correlation) < 5 / 30
    assert torch.equal(network.weight, before)


def test_single_precision_draw_is_the_rounded_double_one():
    single, double = nn.Linear(3, 3), nn.Linear(3, 3).double()
    drawn = draw_weights(double, 0)["weight"]
    assert torch.equal(draw_weights(single, 0)["weight"], drawn.float())


def test_bare_network_has_no_batch_norm_and_leaves_the_network_alone():
    net = dv.disentangle(small_architecture("resnet20", True), "dgn")
    bare = bare_weights_network(net)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in bare.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in net.weights_network.modules())
    assert not bare.training
