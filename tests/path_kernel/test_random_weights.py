"""Fresh weights.

- Variances are 1 / fan-in by default or as given; biases 0 or of unit variance.
- What a graph adds (class token, position embeddings, biases) is drawn as a bias; gammas stay.
- Draws are reproducible one by one and independent of each other; the network is not changed.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.path_kernel.random_weights import (
    added_parameters,
    bare_weights_network,
    draw_weights,
    fan_in,
    layer_norm_factors,
)
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


ADDED = ("class_token", "positions", "embed.bias", "blocks.0.norm1.bias", "head.bias")


def test_what_is_added_is_a_bias_and_what_scales_stays():
    network = dv.disentangle(small_architecture("vit"), "dgn").weights_network
    assert {"class_token", "positions", "norm.bias"} <= added_parameters(network)
    assert not [name for name in added_parameters(network) if name.endswith("weight")]
    weights = draw_weights(network, 0)
    drawn = draw_weights(network, 0, biases=True)
    for name in ADDED:
        assert not weights[name].any()
        assert drawn[name].all()
    for name in ("norm.weight", "blocks.0.norm1.weight"):
        assert name in layer_norm_factors(network)
        assert torch.equal(weights[name], network.get_parameter(name))
    assert weights["blocks.0.attention.value.weight"].all()


def test_gamma_of_two_axes_is_no_weight():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.matrix = nn.LayerNorm((2, 3)), nn.Parameter(torch.ones(3, 4))

        def forward(self, x):
            return torch.relu(self.norm(x) @ self.matrix)

    network = dv.disentangle(Model(), "dnn").weights_network
    weights = draw_weights(network, 0)
    assert torch.equal(weights["norm.weight"], torch.ones(2, 3))
    assert not torch.equal(weights["matrix"], torch.ones(3, 4))


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
