"""The reference architectures.

- Each has the layers that the papers give, counted by its parameters.
- Width, classes, input shape and batch norm are obeyed; wrong ones are refused.
- Option-A shortcuts take every second position and pad channels with zeros.
"""

import pytest
import torch
from torch import nn

from dualview import architectures
from dualview.architectures import ARCHITECTURES, NAMES, BasicBlock, build, c4gap, fc
from dualview.errors import ArchitectureError
from tests.cases import SMALL, batch_norm_choices, small_architecture, small_input

# Weight layers of the published networks (He et al. 2015 for ResNet; VGG with one dense layer; the
# vision transformer is this project's size).
WEIGHT_LAYERS = {
    "fc": 6,
    "vconv": 7,
    "gconv": 7,
    "c4gap": 5,
    "c6white": 7,
    "c6late": 7,
    "vgg16": 14,
    "resnet20": 20,
    "resnet32": 32,
    "resnet56": 56,
    "resnet110": 110,
    "vit": 26,  # patches, six in each of four blocks, head
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_number_of_weight_layers(name):
    model = small_architecture(name)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == WEIGHT_LAYERS[name]


@pytest.mark.parametrize(
    ("name", "batch_norm"), [(n, b) for n in ARCHITECTURES for b in batch_norm_choices(n)]
)
def test_output_shape_and_batch_norm(name, batch_norm):
    model = small_architecture(name, batch_norm, num_classes=7)
    assert model(small_input(name, 2)).shape == (2, 7)
    assert any(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == batch_norm


def test_published_sizes():
    # ResNet-110 has 1.7 million parameters, ResNet-20 0.27 million (He et al. 2015, table 6).
    count = {n: sum(p.numel() for p in ARCHITECTURES[n]().parameters()) for n in ARCHITECTURES}
    assert round(count["resnet20"] / 1e6, 2) == 0.27
    assert round(count["resnet110"] / 1e6, 1) == 1.7
    assert round(count["vgg16"] / 1e6, 1) == 14.7


def test_option_a_shortcut():
    block = BasicBlock(2, 4, 2, batch_norm=False)
    x = torch.randn(1, 2, 5, 5)
    skip = block._skip(x)
    assert skip.shape == (1, 4, 3, 3)
    assert torch.equal(skip[:, 1:3], x[:, :, ::2, ::2])
    assert torch.equal(skip[:, [0, 3]], torch.zeros(1, 2, 3, 3))


def test_glorot_uniform_with_zero_biases():
    layer = fc(width=50)[1]
    bound = (6 / (784 + 50)) ** 0.5
    assert 0.95 * bound < float(layer.weight.detach().abs().max()) <= bound
    assert not layer.bias.any()


def test_channels_of_c4gap():
    convolutions = [m for m in c4gap(widths=(3, 3, 5, 5)) if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [3, 3, 5, 5]


def test_reset_parameters_draws_anew():
    for name in SMALL:
        model = small_architecture(name)
        before = [p.clone() for p in model.parameters() if p.dim() > 1]
        model.reset_parameters()
        after = [p for p in model.parameters() if p.dim() > 1]
        assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "c4gab"}, "did you mean 'c4gap'"),
        ({"name": "c4gap", "width": 0}, "width: expected a whole number from 1 on"),
        ({"name": "fc", "batch_norm": True}, "no batch norm"),
        ({"name": "vgg16", "input_shape": (3, 8, 8)}, "at least 16x16"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ArchitectureError, match=message):
        build(**{"num_classes": 2, "input_shape": (1, 8, 8), **options})


def test_names_are_those_of_the_factories():
    assert list(NAMES) == list(ARCHITECTURES)
    assert all(getattr(architectures, name) is ARCHITECTURES[name] for name in NAMES)
    with pytest.raises(AttributeError, match="no attribute 'resnet21'"):
        architectures.resnet21
