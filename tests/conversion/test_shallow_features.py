"""DLGN-SF.

- Every gated layer's pre-activation is one affine map of the input, of the layer's own shape.
- Dense nets give q_l = W_l x + b_l; convolutional ones a convolution, written out here by hand.
- Skips, branches and missing shapes are refused.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dualview import disentangle
from dualview.conversion.shallow_features import _window
from dualview.errors import ExampleInputError, UnsupportedOperationError
from tests.cases import small_architecture, small_input

PLAIN = ["fc", "vconv", "gconv", "c4gap", "vgg16"]


@pytest.mark.parametrize("name", PLAIN)
def test_shapes_and_affinity(name):
    model, x = small_architecture(name, name == "vgg16"), small_input(name, 2)
    net = disentangle(model, "dlgn-sf", example_input=x, seed=0)
    deep = disentangle(model, "dgn", example_input=x, seed=0)
    assert [q.shape for q in net.preactivations(x)] == [q.shape for q in deep.preactivations(x)]
    y = torch.randn_like(x)
    net.eval()
    mixed = net.preactivations(0.3 * x + 0.7 * y)
    for q, qx, qy in zip(mixed, net.preactivations(x), net.preactivations(y), strict=True):
        torch.testing.assert_close(q, 0.3 * qx + 0.7 * qy)


def test_dense_layers_by_hand():
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3, bias=False), nn.ReLU())
    net = disentangle(model, "dlgn-sf", seed=1)
    x = torch.randn(2, 4)
    first, second = (net.gating_network.get_submodule(f"layer_{k}.1") for k in (1, 2))
    assert second.bias is None
    q1, q2 = net.preactivations(x)
    torch.testing.assert_close(q1, x @ first.weight.T + first.bias)
    torch.testing.assert_close(q2, x @ second.weight.T)


def test_convolutions_by_hand():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(2, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.ReLU(),
    )
    x = torch.randn(2, 1, 8, 8)
    net = disentangle(model, "dlgn-sf", example_input=x, seed=1).eval()
    one, two = (net.gating_network.get_submodule(f"layer_{k}") for k in (1, 2))
    q1, q2 = net.preactivations(x)
    padded = F.pad(x, (1, 1, 1, 1), mode="circular")
    torch.testing.assert_close(q1, F.conv2d(padded, one[0].weight, one[0].bias))
    by_hand = F.conv2d(x, two[0].weight, two[0].bias, 2, two[0].padding)
    assert q2.shape == (2, 3, 4, 4)
    torch.testing.assert_close(q2, by_hand / (1 + two[1].eps) ** 0.5)


@pytest.mark.parametrize("inputs", [5, 8, 28, 32])
@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("halvings", [0, 1, 2])
def test_window_gives_the_shape_and_skips_no_pixel(inputs, size, halvings):
    outputs = inputs // 2**halvings
    kernel, stride, padding = _window(inputs, outputs, size)
    assert (inputs + 2 * padding - kernel) // stride + 1 == outputs
    assert kernel >= stride


def test_seed_is_not_that_of_the_weights_network():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    net = disentangle(model, "dlgn-sf", seed=0)
    gating = net.gating_network.get_submodule("layer_1.1")
    assert not torch.equal(gating.weight, net.weights_network.get_submodule("0").weight)


def test_skip_is_refused():
    with pytest.raises(UnsupportedOperationError, match=r"add at .*papers\.py.*not one chain"):
        disentangle(
            small_architecture("resnet20"), "dlgn-sf", example_input=small_input("resnet20")
        )


def test_two_weight_layers_before_a_gate_are_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(UnsupportedOperationError, match="2 weight layers stand between"):
        disentangle(model, "dlgn-sf")


def test_convolution_needs_an_example():
    with pytest.raises(ExampleInputError, match="expected an example_input"):
        disentangle(small_architecture("c4gap"), "dlgn-sf")
