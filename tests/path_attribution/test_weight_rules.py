"""Dense and convolutional layers as steps.

- Convolutions of any padding, stride, dilation and groups, plain and transposed, as modules and as
  functions, in one, two and three dimensions: the paths are the oracle's.
- Dense layers over the last axis of images, and functional ones with parameters.
- What is not a layer with fixed weights is refused.
"""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.errors import TooManyPathsError, UnsupportedOperationError
from dualview.path_attribution.strongest_paths import PathSearch
from tests.cases import enliven
from tests.path_attribution.listed import assert_same_paths, listed_paths

CONVOLUTIONS = {1: (nn.Conv1d, nn.ConvTranspose1d), 2: (nn.Conv2d, nn.ConvTranspose2d)}


def own_form(model):
    return dv.disentangle(enliven(model.double()).eval(), "dnn").eval()


@st.composite
def layers(draw):
    """A convolution, and the shape of an image that it takes."""
    torch.default_generator.manual_seed(draw(st.integers(0, 999)))
    dims = draw(st.sampled_from([1, 2]))
    groups = draw(st.sampled_from([1, 1, 2]))
    inputs, outputs = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 3)) for _ in range(dims)]
    options = {
        "stride": draw(st.integers(1, 2)),
        "dilation": draw(st.integers(1, 2)),
        "padding": draw(st.integers(0, 1)),
        "groups": groups,
        "bias": draw(st.booleans()),
    }
    transposed = draw(st.booleans())
    if not transposed:
        options["padding_mode"] = draw(
            st.sampled_from(["zeros", "circular", "reflect", "replicate"])
        )
        if draw(st.integers(0, 5)) == 0:
            options |= {"padding": "same", "stride": 1}
    layer = CONVOLUTIONS[dims][transposed](inputs, outputs, tuple(kernel), **options)
    return layer, (inputs, *(draw(st.integers(3, 4)) for _ in range(dims)))


@settings(max_examples=40)
@given(layers())
def test_any_convolution(case):
    layer, shape = case
    x = torch.randn(1, *shape, dtype=torch.float64)
    try:
        with torch.no_grad():
            layer.double()(x)
    except RuntimeError:  # padding or kernel larger than the image
        assume(False)
    net = own_form(nn.Sequential(layer, nn.LeakyReLU(), nn.Flatten()))
    try:
        assume(listed_paths(net, x, 0, 5_000))
        assert_same_paths(net, x)
    except TooManyPathsError:
        assume(False)


@pytest.mark.parametrize("kind", [nn.Conv3d, nn.ConvTranspose3d])
def test_three_dimensions(kind):
    x = torch.randn(1, 1, 2, 3, 2, dtype=torch.float64)
    layer = kind(1, 2, (1, 2, 2), padding=(0, 1, 0), stride=(1, 2, 1))
    assert_same_paths(own_form(nn.Sequential(layer, nn.ReLU(), nn.Flatten())), x, 3)


class Functional(nn.Module):
    """One layer as a function of parameters."""

    def __init__(self, call, *shapes):
        super().__init__()
        self.call = call
        self.weight, self.bias = (nn.Parameter(torch.randn(shape)) for shape in shapes)

    def forward(self, x):
        return self.call(x, self.weight, self.bias).flatten(1)


FUNCTIONS = {
    "linear": (F.linear, (3, 4), (3,), (4,)),
    "linear of an image": (F.linear, (3, 4), (3,), (2, 2, 4)),
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, 2, 1), (3, 2, 2), (3,), (2, 5)),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, padding="same"), (2, 1, 3, 3), (2,), (1, 3, 3)),
    "conv3d": (
        lambda x, w, b: F.conv3d(input=x, weight=w, bias=b),
        (2, 1, 2, 2, 2),
        (2,),
        (1, 3, 2, 2),
    ),
    "grouped": (lambda x, w, b: F.conv1d(x, w, b, groups=2, dilation=2), (4, 1, 2), (4,), (2, 5)),
    "without bias": (lambda x, w, b: F.conv1d(x, w) * b, (1, 2, 2), (1,), (2, 4)),
    "transposed 1": (
        lambda x, w, b: F.conv_transpose1d(x, w, b, 2, 1, 1),
        (2, 3, 3),
        (3,),
        (2, 3),
    ),
    "transposed 2": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, groups=2),
        (2, 1, 2, 2),
        (2,),
        (2, 2, 3),
    ),
    "transposed 3": (F.conv_transpose3d, (1, 2, 1, 2, 2), (2,), (1, 2, 2, 1)),
    "matrix": (lambda x, w, b: F.leaky_relu(x @ w) + b, (4, 3), (3,), (2, 4)),
}


@pytest.mark.parametrize("case", FUNCTIONS)
def test_functional_layers(case):
    call, weight, bias, shape = FUNCTIONS[case]
    x = torch.randn(1, *shape, dtype=torch.float64)
    net = own_form(nn.Sequential(nn.LeakyReLU(), Functional(call, weight, bias), nn.LeakyReLU()))
    top = assert_same_paths(net, x, 1)
    assert {path.start.kind for path in top.paths} == {"input", "bias"} or case == "without bias"


def test_dense_layers_of_images_keep_their_names():
    net = own_form(nn.Sequential(nn.Linear(3, 2), nn.LeakyReLU(), nn.Flatten(), nn.Linear(4, 1)))
    x = torch.randn(1, 2, 3, dtype=torch.float64)
    top = assert_same_paths(net, x)
    (path,) = [p for p in top.paths if p.start.kind == "input"][:1]
    assert [node.layer for node in path.nodes] == ["input", "0", "gate_1", "3"]
    start, unit, gate, _ = path.nodes
    assert unit.channel == gate.position[0]  # the layer's own axis comes first, as in torch's
    assert unit.position == (gate.channel,) == (start.channel,)


def test_a_weight_made_of_the_input_is_refused():
    class Model(nn.Module):
        def forward(self, x):
            return F.linear(torch.ones(1, 3).double(), F.relu(x))

    net = dv.disentangle(Model(), "dnn")
    with pytest.raises(UnsupportedOperationError, match="of an activation and a constant"):
        PathSearch(net, torch.randn(1, 3, dtype=torch.float64))
