"""Properties proved here, against the autograd Jacobian in float64.

1. Every operation that has a rule gives channel kernels that are exact at every interior position;
   filters, offsets and norms are exact everywhere. Every entry of the table is exercised.
2. The interior is as large as it can be: next to it kernels leave the input, or filters differ.
3. Operations without a rule, or used in a way that no rule covers, have no channel kernels, and
   exact filters, offsets and norms.
"""

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

import dualview as dv
from dualview.conversion.normal_form import normal_call
from dualview.primal.rules import RULES
from tests.primal.oracle import assert_exact, gated, jacobian, stack


class Function(nn.Module):
    """Two convolutions with a function of both values between them and the gate."""

    def __init__(self, function, channels=2, outputs=2):
        super().__init__()
        self.conv1 = nn.Conv2d(2, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, 2, 2)
        self.weight = nn.Parameter(torch.randn(2, channels, 3, 2))
        self.scale = nn.Parameter(torch.rand(channels, 1, 1) + 0.5)
        self.image = nn.Parameter(torch.randn(channels, 9, 8))
        self.function = function

    def reset_parameters(self):
        for parameter in self.parameters(recurse=False):
            nn.init.uniform_(parameter, 0.5, 1.5)

    def forward(self, x):
        return torch.relu(self.conv2(self.function(self, self.conv1(x), x)))


SHAPE = (2, 9, 8)


def circular(inputs, outputs, size, stride=1):
    sizes = size if isinstance(size, tuple) else (size, size)
    padding = tuple(n // 2 for n in sizes)
    return nn.Conv2d(inputs, outputs, size, stride, padding, padding_mode="circular")


# Layers before one gate: name -> (layers, input shape).
MODULES = {
    "Conv1d": ([nn.Conv1d(2, 3, 3, padding=1), nn.Conv1d(3, 2, 2)], (2, 9)),
    "Conv2d": ([nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 2, (2, 3))], SHAPE),
    "Conv3d": ([nn.Conv3d(1, 2, 3, padding=1), nn.Conv3d(2, 2, (1, 2, 1))], (1, 4, 4, 3)),
    "strides": ([nn.Conv2d(2, 3, 3, 2, 1), nn.Conv2d(3, 2, 2, (1, 2))], SHAPE),
    "dilation": ([nn.Conv2d(2, 3, 3, 1, 2, 2), nn.Conv2d(3, 2, 2, dilation=(1, 2))], SHAPE),
    "strides, then dilation": (
        [nn.Conv2d(2, 3, 2, 2, 1), nn.Conv2d(3, 2, 2, dilation=2, padding=1)],
        (2, 12, 11),
    ),
    "groups": ([nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.Conv2d(4, 6, 2, groups=2)], SHAPE),
    "depthwise": ([nn.Conv2d(2, 2, 3, padding=1, groups=2), nn.Conv2d(2, 4, 2, groups=2)], SHAPE),
    "same": ([nn.Conv2d(2, 3, (2, 4), padding="same"), nn.Conv2d(3, 2, 2, padding="valid")], SHAPE),
    "circular": ([circular(2, 3, 3), circular(3, 2, (3, 5))], SHAPE),
    "circular, longer than the image": (
        [circular(1, 2, 3), circular(2, 2, 5), circular(2, 2, 5)],
        (1, 4, 5),
    ),
    "circular with strides that divide": ([circular(2, 3, 3, 2), circular(3, 2, 3)], (2, 8, 6)),
    "circular with strides that do not": ([circular(1, 2, 3, 2), circular(2, 2, 3)], (1, 13, 11)),
    "circular, then zeros": ([circular(2, 3, 3), nn.Conv2d(3, 2, 3, padding=1)], (2, 10, 7)),
    "zeros, then circular": ([nn.Conv2d(2, 3, 3, padding=1), circular(3, 2, 3)], (2, 10, 7)),
    "reflect": ([nn.Conv2d(2, 3, 3, padding=2, padding_mode="reflect")], SHAPE),
    "replicate, then zeros": (
        [nn.Conv2d(2, 3, 3, padding=2, padding_mode="replicate"), nn.Conv2d(3, 2, 3, padding=1)],
        SHAPE,
    ),
    "batch norm": ([nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)], SHAPE),
    "batch norm of 1-D images": ([nn.Conv1d(2, 3, 3, padding=1), nn.BatchNorm1d(3)], (2, 9)),
    "batch norm of 3-D images": ([nn.Conv3d(1, 2, 2), nn.BatchNorm3d(2)], (1, 3, 3, 3)),
    "batch norm first": ([nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3, padding=1)], SHAPE),
    "AvgPool1d": ([nn.Conv1d(2, 3, 3, padding=1), nn.AvgPool1d(2)], (2, 9)),
    "AvgPool2d": ([nn.Conv2d(2, 3, 3, padding=1), nn.AvgPool2d((2, 3))], (2, 8, 9)),
    "AvgPool3d": ([nn.Conv3d(1, 2, 2), nn.AvgPool3d(2, 1)], (1, 4, 4, 3)),
    "padded pool": ([nn.AvgPool2d(3, 2, 1), nn.Conv2d(2, 2, 2)], (2, 10, 9)),
    "pool that counts no padding": (
        [nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.Conv2d(2, 2, 2, padding=1)],
        (2, 12, 11),
    ),
    "pool over the edge": ([nn.AvgPool2d(3, 2, ceil_mode=True), nn.Conv2d(2, 2, 2)], (2, 10, 8)),
    "pool with a divisor": ([nn.AvgPool2d(2, 1, divisor_override=3), nn.Conv2d(2, 1, 1)], SHAPE),
    "ZeroPad1d": ([nn.ZeroPad1d((1, 2)), nn.Conv1d(2, 2, 3)], (2, 7)),
    "ZeroPad2d": ([nn.ZeroPad2d((1, 0, 2, 1)), nn.Conv2d(2, 2, 3)], SHAPE),
    "ZeroPad3d": ([nn.ZeroPad3d(1), nn.Conv3d(1, 2, 3)], (1, 3, 4, 3)),
    "ConstantPad1d": ([nn.ConstantPad1d((1, -2), 0.7), nn.Conv1d(2, 2, 3)], (2, 9)),
    "ConstantPad2d": ([nn.ConstantPad2d(1, 0.7), nn.Conv2d(2, 2, 3)], SHAPE),
    "ConstantPad3d": ([nn.ConstantPad3d(1, 0.7), nn.Conv3d(1, 2, 3)], (1, 3, 4, 3)),
    "CircularPad1d": ([nn.CircularPad1d(2), nn.Conv1d(2, 2, 5)], (2, 7)),
    "CircularPad2d": ([nn.CircularPad2d(1), nn.Conv2d(2, 2, 3), nn.CircularPad2d(1)], SHAPE),
    "CircularPad3d": ([nn.CircularPad3d(1), nn.Conv3d(1, 2, 3)], (1, 3, 4, 3)),
    "circular twice": ([nn.CircularPad2d(1), nn.CircularPad2d(1), nn.Conv2d(2, 2, 3)], SHAPE),
    "ReflectionPad1d": ([nn.ReflectionPad1d((3, 0)), nn.Conv1d(2, 2, 3)], (2, 7)),
    "ReflectionPad2d": ([nn.Conv2d(2, 2, 3), nn.ReflectionPad2d(1), nn.AvgPool2d(2)], SHAPE),
    "ReflectionPad3d": ([nn.ReflectionPad3d(1), nn.Conv3d(1, 2, 3)], (1, 3, 4, 3)),
    "ReplicationPad1d": ([nn.ReplicationPad1d(2), nn.Conv1d(2, 2, 3)], (2, 7)),
    "ReplicationPad2d": ([nn.ReplicationPad2d(2), nn.Conv2d(2, 2, 3)], SHAPE),
    "ReplicationPad3d": ([nn.ReplicationPad3d(1), nn.Conv3d(1, 2, 3)], (1, 3, 4, 3)),
    "ChannelShuffle": (
        [nn.Conv2d(2, 6, 3, padding=1), nn.ChannelShuffle(3), nn.Conv2d(6, 2, 2, groups=2)],
        SHAPE,
    ),
    "identity": ([nn.Conv2d(2, 2, 3), nn.Identity()], SHAPE),
    "Dropout": ([nn.Conv2d(2, 2, 3), nn.Dropout(0.5)], SHAPE),
    "Dropout1d": ([nn.Conv1d(2, 2, 3), nn.Dropout1d(0.5)], (2, 7)),
    "Dropout2d": ([nn.Conv2d(2, 2, 3), nn.Dropout2d(0.5)], SHAPE),
    "Dropout3d": ([nn.Conv3d(1, 2, 2), nn.Dropout3d(0.5)], (1, 3, 3, 3)),
    "a gate on the input": ([nn.Identity(), nn.ReLU(), nn.Conv2d(2, 2, 1)], SHAPE),
}

# Functions of (module, convolution of the input, input) that have a rule.
FUNCTIONS = {
    "skip": lambda m, v, x: v + x,
    "difference of skips": lambda m, v, x: x - v,
    "scaled skip": lambda m, v, x: torch.add(v, x, alpha=0.3),
    "scaled skip by keyword": lambda m, v, x: torch.add(v, other=x, alpha=0.3),
    "subtracted skip": lambda m, v, x: torch.sub(x, v, alpha=0.3),
    "skip by methods": lambda m, v, x: v.add(x).sub(0.5),
    "skip over a strided branch": lambda m, v, x: (
        F.avg_pool2d(v, 2, ceil_mode=True) + x[:, :, ::2, ::2]
    ),
    "constant added": lambda m, v, x: 2 + v,
    "constant less a value": lambda m, v, x: m.scale - v,
    "constants of channels": lambda m, v, x: v + m.scale,
    "constants of positions": lambda m, v, x: v + m.image,
    "constants of positions in a batch": lambda m, v, x: v - m.image[None],
    "product": lambda m, v, x: 2 * v * m.scale,
    "product functions": lambda m, v, x: torch.multiply(m.scale, torch.mul(v, m.scale.exp())),
    "product methods": lambda m, v, x: v.mul(m.scale).multiply(0.5),
    "quotient": lambda m, v, x: v / (1 + m.scale),
    "quotient functions": lambda m, v, x: torch.div(v, 3).div(m.scale),
    "signs": lambda m, v, x: torch.neg(-v).neg() + (+v) * 2,
    "memory": lambda m, v, x: torch.clone(v).contiguous().clone().double().to(v).type_as(x).cpu(),
    "dropout function": lambda m, v, x: F.dropout(F.dropout(v, 0.5, m.training), 0.5, False),
    "avg_pool2d": lambda m, v, x: F.avg_pool2d(v, (2, 3), 1, padding=1),
    "avg_pool2d by keyword": lambda m, v, x: F.avg_pool2d(input=v, kernel_size=2),
    "pad": lambda m, v, x: F.pad(v, (1, 2, 0, 1)),
    "pad with a constant": lambda m, v, x: F.pad(v, (1, 1), value=0.5),
    "pad by copies": lambda m, v, x: F.pad(v, (1, 1, 1, 1), mode="replicate"),
    "pad by a size": lambda m, v, x: F.pad(v, (0, x.size(3) // 4)),
    # Constants of positions tie the network to its size, so that norms take the whole image.
    "skip beside copies": lambda m, v, x: (
        x + m.image + F.avg_pool2d(F.pad(v, (1,) * 4, "circular"), 3, 1)
    ),
    "skip around the edge": lambda m, v, x: (
        v + m.image + F.avg_pool2d(F.pad(x, (1,) * 4, "circular"), 3, 1)
    ),
    "cut by pad": lambda m, v, x: F.pad(v, (-1, 0, 0, -2)),
    "slices": lambda m, v, x: v[:, :, 1:-1, ::2],
    "slice of the end": lambda m, v, x: v[..., -5:],
    "slice to a number": lambda m, v, x: v[:, :, :7, 2:6],
    "slice by a size": lambda m, v, x: v[:, :, : x.size(2) - 1],
    "conv2d": lambda m, v, x: F.conv2d(v, m.weight, padding=(1, 0), stride=(1, 2)),
    "conv2d same": lambda m, v, x: F.conv2d(v, m.weight, padding="same"),
    "conv2d valid": lambda m, v, x: F.conv2d(v, m.weight, None, 1, "valid", 2),
    "conv2d of a computed weight": lambda m, v, x: F.conv2d(v, 2 * m.weight.flip(2)),
    "the same convolution twice": lambda m, v, x: m.conv1(v),
    "dense pyramid": lambda m, v, x: F.pad(F.avg_pool2d(v, 3, 1), (1, 1, 1, 1)) + v,
    "zeros": lambda m, v, x: v - 0 * x,
}

WIDER = {
    "concatenation": lambda m, v, x: torch.cat([v, x], 1),
    "concatenation by keyword": lambda m, v, x: torch.concat(tensors=[x, v], dim=-3),
    "channels padded": lambda m, v, x: F.pad(v, (0, 0, 1, 0, 1, 1)),
    "channels padded and cut": lambda m, v, x: F.pad(torch.cat([v, x], 1), (0, 0, 0, 0, -1, 1)),
    "channels of three dense blocks": lambda m, v, x: torch.cat([v, v + x], dim=1),
}

NARROW = {"channels sliced": lambda m, v, x: v[:, 1:]}

OF_OTHER_IMAGES = {
    "conv1d": (lambda m, x: F.conv1d(x, m.line), (2, 7)),
    "conv3d": (lambda m, x: F.conv3d(x, m.cube, dilation=(1, 2, 1)), (1, 3, 4, 3)),
    "avg_pool1d": (lambda m, x: F.avg_pool1d(m.number * x, 3, 2, 1), (2, 9)),
    "avg_pool3d": (lambda m, x: F.avg_pool3d(m.number * x, 2), (1, 4, 4, 4)),
}


class Plain(nn.Module):
    """A function of the input before the gate."""

    def __init__(self, function):
        super().__init__()
        self.line = nn.Parameter(torch.randn(3, 2, 3))
        self.cube = nn.Parameter(torch.randn(2, 1, 2, 2, 1))
        self.number = nn.Parameter(torch.tensor(0.7))
        self.function = function

    def reset_parameters(self):
        for parameter in self.parameters(recurse=False):
            nn.init.uniform_(parameter)

    def forward(self, x):
        return torch.relu(self.function(self, x))


def _with_rules():
    for name, (layers, shape) in MODULES.items():
        yield pytest.param(lambda layers=layers: stack(*layers), shape, id=name)
    for outputs, functions in ((2, FUNCTIONS), (4, WIDER), (1, NARROW)):
        for name, function in functions.items():
            yield pytest.param(
                lambda f=function, outputs=outputs: Function(f, outputs=outputs), SHAPE, id=name
            )
    for name, (function, shape) in OF_OTHER_IMAGES.items():
        yield pytest.param(lambda f=function: Plain(f), shape, id=name)


WITH_RULES = list(_with_rules())


@pytest.mark.parametrize(("model", "shape"), WITH_RULES)
def test_operations_with_a_rule(model, shape):
    net = gated(model())
    found = assert_exact(net, 0, shape)
    assert found.has_channel_kernels
    assert all(found.interior)
    assert_largest(found, jacobian(net, 0, shape)[0])


def test_every_rule_is_exercised():
    # It stands before a network (see `test_input_transform`), and what conversion writes.
    seen = {"input transform", "marked"}
    for case in WITH_RULES:
        seen |= {normal_call(node).key for node in fx.symbolic_trace(case.values[0]()).graph.nodes}
    assert set(RULES) <= seen


def assert_largest(found, filters):
    """Next to the interior the kernel leaves the input, or some channel's filter is another."""
    for axis, interior in enumerate(found.interior):
        for next_to in {interior.start - 1, interior.stop} & set(range(found.gate_shape[1 + axis])):
            position = [inner.start for inner in found.interior]
            position[axis] = next_to
            kernels = laid(found, position)
            if kernels is not None:
                difference = (filters[(slice(None), *position)] - kernels).abs().max()
                assert difference > 1e-6 * filters.abs().max()


def laid(found, position):
    """All channels' kernels at a position; None where they leave the input."""
    axes = found._local.axes
    starts = [axis.stride * p + axis.first for axis, p in zip(axes, position, strict=True)]
    inside = [
        start >= 0 and start + axis.length <= axis.input_size
        for start, axis in zip(starts, axes, strict=True)
    ]
    if not all(inside):
        return None
    image = found.channel_kernels.new_zeros(found.gate_shape[0], *found.input_shape)
    window = [slice(s, s + axis.length) for s, axis in zip(starts, axes, strict=True)]
    image[(..., *window)] = found.channel_kernels
    return image


def test_batch_norm_without_parameters():
    norm = nn.BatchNorm2d(2, affine=False)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    model = nn.Sequential(nn.Conv2d(2, 2, 3), norm, nn.ReLU()).double()
    assert assert_exact(dv.disentangle(model, seed=0).eval(), 0, SHAPE).has_channel_kernels


OUTPUTS = {"chunks": 1}

WITHOUT = {
    "upsampling": lambda m, v, x: F.interpolate(v, scale_factor=2.0),
    "pixel shuffle": lambda m, v, x: F.pixel_shuffle(torch.cat([v, x, v, x], 1), 2),
    "transposed convolution": lambda m, v, x: F.conv_transpose2d(v, m.weight),
    "views": lambda m, v, x: v.view(x.size(0), 2, 8, 9),
    "transposed": lambda m, v, x: v.transpose(2, 3),
    "mean over positions": lambda m, v, x: v + v.mean((2, 3), keepdim=True),
    "mean over channels": lambda m, v, x: v.mean(1, keepdim=True) + v,
    "chunks": lambda m, v, x: (
        torch.cat(v.chunk(2, 1), 2)[:, :1] + v[:, 1:, :, :1].sum((2, 3), True)
    ),
    "adaptive pool": lambda m, v, x: F.adaptive_avg_pool2d(v, (3, 3)),
    "mask of positions": lambda m, v, x: v * m.image,
    "branches of two strides": lambda m, v, x: F.interpolate(v[:, :, ::2, ::2], (9, 8)) + v,
    "strides that meet by size": lambda m, v, x: v[:, :, ::2, ::2] + x[:, :, :5, :4],
    "one channel for all": lambda m, v, x: v[:, :1] + x,
    "constant beside": lambda m, v, x: torch.cat(
        [v[:, 1:], m.image[None, :1].expand(x.size(0), 1, 9, 8)], 1
    ),
    "channels by broadcasting": lambda m, v, x: v[:, :1] + m.scale,
    "rows side by side": lambda m, v, x: torch.cat([v, x], 3),
    "rolled": lambda m, v, x: v.roll(1, 3),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_operations_without_a_rule(name):
    found = assert_exact(gated(Function(WITHOUT[name], outputs=OUTPUTS.get(name, 2))), 0, SHAPE)
    assert not found.has_channel_kernels
    assert found.interior == (range(0), range(0))


WITHOUT_CHANNELS = {
    "AvgPool2d": nn.AvgPool2d(3, 1, 1),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 1, 1),
    "AvgPool1d": nn.AvgPool1d(3, 1, 1),
    "CircularPad2d": nn.CircularPad2d(1),
}


@pytest.mark.parametrize("name", WITHOUT_CHANNELS)
def test_images_without_channels(name):
    """Operations on images take (n, rows, columns) too: axis 1 is no axis of channels then."""
    model = Plain(lambda m, x: m.layer(x) * m.number)
    model.layer = WITHOUT_CHANNELS[name]
    found = assert_exact(gated(model), 0, (5, 6))
    assert found.has_channel_kernels == (name == "AvgPool1d")


RECEPTIVE_FIELDS = {
    "zero padding": [nn.Conv2d(1, 1, 3, padding=1) for _ in range(4)],
    "replicated": [
        nn.Conv2d(1, 2, 5, padding=2, padding_mode="replicate"),
        nn.Conv2d(2, 2, 3, padding=1),
    ],
}


@pytest.mark.parametrize("name", RECEPTIVE_FIELDS)
def test_receptive_fields_larger_than_the_image(name):
    found = assert_exact(gated(stack(*RECEPTIVE_FIELDS[name])), 0, (1, 5, 6))
    assert not found.has_channel_kernels


def test_tokens_without_channels_first():
    """A dense layer at every token: axis 1 counts tokens, and there is no closed form."""
    net = gated(nn.Sequential(nn.Linear(3, 4), nn.ReLU()))
    found = assert_exact(net, 0, (5, 3))
    assert found.gate_shape == (5, 4)
    assert found.filters(channels=2, positions=[(1,)]).shape == (1, 1, 5, 3)


def test_sums_of_constants_on_either_side():
    net = gated(Function(lambda m, v, x: (1 - v) + (v - 1) * 3))
    assert assert_exact(net, 0, SHAPE).has_channel_kernels
