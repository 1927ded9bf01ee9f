"""What every parameter is to the kernels.

- By how the graph uses it: module or functional call, transformed before or not, whatever its name,
  shape or `requires_grad`.
- A fan-in is the number of weights that one output reads, whichever way the product is written.
- Two roles at once are refused, and so is a draw of what no independent weights are made of.
- What is added is found, but for constants of the input.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.errors import PathKernelError
from dualview.path_kernel.parameters import addends, check_drawable, fan_ins, roles
from tests.cases import small_architecture

PARAMETERS = {
    "scalar": (1,),
    "channels": (4, 1, 1),
    "batched": (1, 4, 1, 1),
    "image": (4, 3, 3),
    "matrix": (4, 2),
    "transposed": (2, 4),
    "square": (4, 4),
    "kernel": (2, 4, 2, 2),
    "back": (4, 2, 2, 2),
    "vector": (4,),
    "token": (1, 1, 3, 3),
}


class Using(nn.Module):
    """relu(conv(x)), then what `use` makes of it and the parameters; returns (n, outputs)."""

    def __init__(self, use):
        super().__init__()
        self.use = use
        self.conv = nn.Conv2d(1, 4, 1)
        for name, shape in PARAMETERS.items():
            setattr(self, name, nn.Parameter(torch.ones(shape)))
        self.register_buffer("mask", torch.ones(4, 2))
        self.slope = nn.Parameter(torch.tensor([0.2]))

    def forward(self, x):
        out = self.use(self, F.prelu(self.conv(x), self.slope))
        return out.flatten(1)


def pooled(h):
    return h.mean((2, 3))


def used(use):
    return dv.disentangle(Using(use).double(), "dnn").weights_network


ROLES = {
    "layer scale": (lambda m, h: h * m.channels, {"channels": "constant"}),
    "batched scale": (lambda m, h: m.batched * h, {"batched": "constant"}),
    "temperature": (lambda m, h: h / m.scalar, {"scalar": "constant"}),
    "exponent of a scale": (lambda m, h: h * m.scalar.exp(), {"scalar": "constant"}),
    "scale of an image": (lambda m, h: h * m.image, {"image": "constant"}),
    "einsum that scales": (
        lambda m, h: torch.einsum("nchw,c->nchw", h, m.vector),
        {"vector": "constant"},
    ),
    "shift": (lambda m, h: h + m.channels, {"channels": "bias"}),
    "positions": (lambda m, h: m.image.unsqueeze(0) + h, {"image": "bias"}),
    "what is taken away": (lambda m, h: h - m.batched, {"batched": "bias"}),
    "class token": (
        lambda m, h: torch.cat([m.token.expand(h.shape[0], -1, -1, -1), h], 1),
        {"token": "bias"},
    ),
    "bias of a call": (
        lambda m, h: F.linear(pooled(h), m.transposed, m.scalar.expand(2)),
        {"transposed": "weight", "scalar": "bias"},
    ),
    "linear": (lambda m, h: F.linear(pooled(h), m.transposed), {"transposed": "weight"}),
    "by keyword": (lambda m, h: F.linear(pooled(h), weight=m.square), {"square": "weight"}),
    "convolution": (lambda m, h: F.conv2d(h, m.kernel), {"kernel": "weight"}),
    "transposed": (lambda m, h: F.conv_transpose2d(h, m.back), {"back": "weight"}),
    "matrix product": (lambda m, h: pooled(h) @ m.matrix, {"matrix": "weight"}),
    "matrix on the left": (lambda m, h: m.transposed @ h.flatten(2), {"transposed": "weight"}),
    "einsum": (lambda m, h: torch.einsum("nchw,cd->nd", h, m.matrix), {"matrix": "weight"}),
    "masked": (lambda m, h: pooled(h) @ (m.matrix * m.mask), {"matrix": "weight"}),
    "turned": (lambda m, h: F.linear(pooled(h), m.matrix.t()), {"matrix": "weight"}),
    "with a gain": (
        lambda m, h: pooled(h) @ (m.matrix * m.scalar),
        {"matrix": "weight", "scalar": "constant"},
    ),
    "standardised": (
        lambda m, h: pooled(h) @ ((m.matrix - m.matrix.mean()) / m.matrix.std()),
        {"matrix": "weight"},
    ),
}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", ROLES)
def test_roles(name, frozen):
    use, expected = ROLES[name]
    network = used(use).requires_grad_(not frozen)
    assert roles(network) == {"conv.weight": "weight", "conv.bias": "bias", **expected}


FAN_INS = {
    "linear": 4,
    "by keyword": 4,
    "convolution": 16,
    "transposed": 16,
    "matrix product": 4,
    "matrix on the left": 4,
    "einsum": 4,
    "masked": 4,
    "turned": 4,
    "with a gain": 4,
}


@pytest.mark.parametrize("name", FAN_INS)
def test_fan_in_of_calls(name):
    network = used(ROLES[name][0])
    found = fan_ins(network)
    (weight,) = set(found) - {"conv.weight"}
    assert found == {"conv.weight": 1, weight: FAN_INS[name]}
    assert roles(network)[weight] == "weight"


LAYERS = {
    "dense": (nn.Linear(7, 3), 7),
    "convolution": (nn.Conv2d(4, 3, (2, 3)), 24),
    "grouped": (nn.Conv2d(4, 4, 3, groups=2), 18),
    "transposed": (nn.ConvTranspose1d(4, 6, 3, groups=2), 6),
}


@pytest.mark.parametrize("name", LAYERS)
def test_fan_in_of_layers(name):
    layer, expected = LAYERS[name]
    assert fan_ins(nn.Sequential(layer)) == {"0.weight": expected}


def test_modules_without_a_graph():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.LayerNorm(3))
    assert list(roles(network).values()) == ["weight", "bias"] + ["constant", "bias"] * 2


def test_vision_transformer():
    network = dv.disentangle(small_architecture("vit"), "dgn").weights_network
    found = roles(network)
    assert {found[n] for n in ("class_token", "positions", "norm.bias", "embed.bias")} == {"bias"}
    assert {found[n] for n in ("norm.weight", "blocks.0.norm1.weight")} == {"constant"}
    assert found["blocks.0.attention.value.weight"] == "weight"


TWO_ROLES = {
    "scale and shift": lambda m, h: h * m.channels + m.channels,
    "weight and scale": lambda m, h: (
        F.linear(h.mean(3), m.transposed.repeat(2, 1)[:3, :3]) * m.transposed[0, 0]
    ),
}


@pytest.mark.parametrize("name", TWO_ROLES)
def test_two_roles_are_refused(name):
    with pytest.raises(PathKernelError, match=r"parameter '.*': it is a .* Repair: two parameters"):
        roles(used(TWO_ROLES[name]))


NOT_LINEAR = {
    "standardised": ROLES["standardised"][0],
    "activated": lambda m, h: pooled(h) @ torch.tanh(m.matrix),
    "squared": lambda m, h: pooled(h) @ (m.matrix * m.matrix),
    "product of two": lambda m, h: pooled(h) @ (m.square @ m.matrix),
}


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_weights_that_are_not_linear_in_their_parameter_are_not_drawn(name):
    network = used(NOT_LINEAR[name])
    with pytest.raises(PathKernelError, match=r"made of the parameter '.*' by an operation that"):
        check_drawable(network, biases=False)


def test_biases_that_are_not_linear_are_refused_only_where_drawn():
    network = used(lambda m, h: h + m.channels.exp())
    check_drawable(network, biases=False)
    with pytest.raises(PathKernelError, match="its biases are made of the parameter 'channels'"):
        check_drawable(network, biases=True)


@pytest.mark.parametrize("name", [n for n in ROLES if n != "standardised"])
def test_all_others_are_drawn(name):
    check_drawable(used(ROLES[name][0]), biases=True)


class Normalising(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.shift = nn.Conv2d(1, 1, 1), nn.Parameter(torch.ones(1, 1, 1))

    def forward(self, x):
        return torch.relu(1 - self.conv((x - 0.5) / 0.25 + self.shift)).flatten(1)


def test_constants_of_the_input_are_no_addends():
    graph = dv.disentangle(Normalising(), "dnn").weights_network.graph
    assert [str(argument) for _, argument in addends(graph)] == ["shift", "1"]
