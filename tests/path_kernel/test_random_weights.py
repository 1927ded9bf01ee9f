"""Fresh weights.

- Variances are 1 / fan-in by default or as given; biases 0 or of the variance asked for.
- What a graph adds (class token, position embeddings, biases) is drawn as a bias; gammas stay.
- The network of the kernels has the biases and the batch-norm scales that are asked for.
- Draws are reproducible one by one and independent of each other; the network is not changed.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.errors import PathKernelError
from dualview.path_kernel.random_weights import draw_weights, kernel_network
from tests.cases import enliven, small_architecture


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
    weights = draw_weights(network, 0, biases=True, bias_variance=4.0)
    assert weights["0.bias"].var() == pytest.approx(4, rel=0.2)


ADDED = ("class_token", "positions", "embed.bias", "blocks.0.norm1.bias", "head.bias")


def test_what_is_added_is_a_bias_and_what_scales_stays():
    network = dv.disentangle(small_architecture("vit"), "dgn").weights_network
    weights = draw_weights(network, 0)
    drawn = draw_weights(network, 0, biases=True)
    for name in ADDED:
        assert not weights[name].any()
        assert drawn[name].all()
    for name in ("norm.weight", "blocks.0.norm1.weight"):
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


def norm_and_more():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)
            self.shift, self.last = nn.Parameter(torch.ones(2, 1, 1)), nn.Linear(8, 2)

        def forward(self, x):
            h = torch.relu(self.norm(self.conv(x - 0.5)) + self.shift) + 3
            return 1 - nn.functional.linear(h.flatten(1), self.last.weight, self.last.bias)

    return dv.disentangle(enliven(Model().double()), "dnn").eval()


@pytest.mark.parametrize("batch_norm", ["identity", "scale"])
@pytest.mark.parametrize("biases", [False, True])
def test_kernel_network_is_what_the_options_say(batch_norm, biases):
    net = norm_and_more()
    network, x = kernel_network(net, batch_norm=batch_norm, biases=biases), torch.randn(3, 1, 2, 2)
    x = x.double()
    (gate,) = net.gates(x)
    own = net.weights_network
    scale = own.norm.weight / torch.sqrt(own.norm.running_var + own.norm.eps)
    h = nn.functional.conv2d(x - 0.5, own.conv.weight, own.conv.bias if biases else None)
    h = h * scale.view(2, 1, 1) if batch_norm == "scale" else h
    if biases:
        h = h + own.norm.bias.view(2, 1, 1) + own.shift
    h = (h * gate + 3 * biases).flatten(1)
    expected = int(biases) - (h @ own.last.weight.T + own.last.bias * biases)
    torch.testing.assert_close(network(x, gate), expected)
    assert torch.equal(own.norm.bias, net.weights_network.norm.bias)


def test_batch_norm_without_statistics_has_no_scale():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, track_running_stats=False), nn.ReLU())
    net = dv.disentangle(model, "dnn")
    kernel_network(net)
    with pytest.raises(PathKernelError, match="batch norm '1': it keeps no running statistics"):
        kernel_network(net, batch_norm="scale")


def test_kernel_network_leaves_the_network_alone():
    net = dv.disentangle(small_architecture("resnet20", True), "dgn")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    bare = kernel_network(net)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in bare.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in net.weights_network.modules())
    assert not bare.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
