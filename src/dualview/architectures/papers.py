"""The reference architectures: plain modules that know nothing of gates.

Each factory takes the number of classes, the shape of one input (channels, height, width), the
width of its first layer (all others scale with it) and whether batch norm stands before every
convolutional activation. Parameters are Glorot-uniform with zero biases, except in the residual
networks, VGG-16, C6WHITE and C6LATE (He-normal, as in the papers they come from). What a factory
makes says, in its attribute `architecture`, which factory that was and with which options.

Sources: arXiv 2006.10529 (FC, VCONV, GCONV), arXiv 2110.03403 (C4GAP, VGG-16, ResNet-110),
He et al. 2015 (the CIFAR residual networks).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from dualview.architectures.drawing import reset
from dualview.architectures.record import recorded
from dualview.architectures.vision_transformer import vit
from dualview.architectures.whitened import c6late, c6white
from dualview.arguments import flag, optional, shape, takes, text_value, whole
from dualview.errors import ArchitectureError, did_you_mean

Shape = tuple[int, int, int]

VGG16_PLAN = (1, 1, "pool", 2, 2, "pool", 4, 4, 4, "pool", 8, 8, 8, "pool", 8, 8, 8)
"""Channels of the convolutions in units of the width, and where the image is halved."""


class Sequential(nn.Sequential):
    """Layers in a row, drawn by one initialiser."""

    def __init__(self, layers: Sequence[nn.Module], he: bool = False) -> None:
        super().__init__(*layers)
        self.he = he
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew from PyTorch's current random state."""
        reset(self, he=self.he)


@recorded
def fc(
    num_classes: int = 10,
    input_shape: Shape = (1, 28, 28),
    width: int | None = None,
    batch_norm: bool = False,
    depth: int = 6,
    bias: bool = True,
) -> nn.Module:
    """Fully connected: `depth` weight layers, `depth - 1` hidden layers of `width` (128) units.

    >>> sum(p.numel() for p in fc().parameters())
    167818
    """
    if batch_norm:
        raise ArchitectureError("fc has no batch norm; expected batch_norm=False")
    if depth < 2:
        raise ArchitectureError(f"depth: expected at least 2 weight layers, got {depth}")
    widths = [math.prod(input_shape)] + [128 if width is None else width] * (depth - 1)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias=bias), nn.ReLU()]
    return Sequential([*layers, nn.Linear(widths[-1], num_classes, bias=bias)])


@recorded
def vconv(
    num_classes: int = 10,
    input_shape: Shape = (3, 32, 32),
    width: int | None = None,
    batch_norm: bool = False,
) -> nn.Module:
    """Convolutions 64, 64, 128, 128 (3x3, no pooling), flatten, dense 256, 256, classes."""
    w = 64 if width is None else width
    layers = _convolutions(input_shape[0], (w, w, 2 * w, 2 * w), batch_norm)
    positions = input_shape[1] * input_shape[2]
    return Sequential([*layers, nn.Flatten(), *_dense(2 * w * positions, 4 * w, num_classes)])


@recorded
def gconv(
    num_classes: int = 10,
    input_shape: Shape = (3, 32, 32),
    width: int | None = None,
    batch_norm: bool = False,
) -> nn.Module:
    """`vconv` with global average pooling in place of flatten."""
    w = 64 if width is None else width
    layers = _convolutions(input_shape[0], (w, w, 2 * w, 2 * w), batch_norm)
    return Sequential([*layers, *_global_average(), *_dense(2 * w, 4 * w, num_classes)])


@recorded
def c4gap(
    num_classes: int = 10,
    input_shape: Shape = (3, 32, 32),
    width: int | None = None,
    batch_norm: bool = False,
    widths: Sequence[int] | None = None,
    bias: bool = True,
) -> nn.Module:
    """Four 3x3 convolutions of 128 channels, global average pooling, one dense layer.

    `widths` gives each convolution its own number of channels. With equal ones the four gate layers
    have 24 orders.
    """
    channels = tuple([128 if width is None else width] * 4 if widths is None else widths)
    layers = _convolutions(input_shape[0], channels, batch_norm, bias)
    return Sequential([*layers, *_global_average(), nn.Linear(channels[-1], num_classes, bias)])


@recorded
def vgg16(
    num_classes: int = 10,
    input_shape: Shape = (3, 32, 32),
    width: int | None = None,
    batch_norm: bool = True,
) -> nn.Module:
    """Thirteen 3x3 convolutions, max pooling, global average pooling, one dense layer."""
    if min(input_shape[1:]) < 16:
        raise ArchitectureError(
            f"vgg16 halves the image four times: expected at least 16x16 positions, got "
            f"{input_shape[1]}x{input_shape[2]}; use c4gap or a residual network"
        )
    w, channels = 64 if width is None else width, input_shape[0]
    layers: list[nn.Module] = []
    for step in VGG16_PLAN:
        if isinstance(step, str):
            layers.append(nn.MaxPool2d(2))
        else:
            layers += _convolutions(channels, (step * w,), batch_norm)
            channels = step * w
    return Sequential([*layers, *_global_average(), nn.Linear(channels, num_classes)], he=True)


def _convolutions(
    inputs: int, channels: Sequence[int], batch_norm: bool, bias: bool = True
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for outputs in channels:
        layers.append(nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias))
        layers += [nn.BatchNorm2d(outputs)] if batch_norm else []
        layers.append(nn.ReLU())
        inputs = outputs
    return layers


def _global_average() -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def _dense(inputs: int, hidden: int, num_classes: int) -> list[nn.Module]:
    return [
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, num_classes),
    ]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a skip; a gate after the first and one after the addition.

    Where the shape changes the skip is option A: every `stride`-th position, zeros for the new
    channels.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, batch_norm: bool) -> None:
        super().__init__()
        bias = not batch_norm
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=bias)
        self.bn1 = nn.BatchNorm2d(outputs) if batch_norm else nn.Identity()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=bias)
        self.bn2 = nn.BatchNorm2d(outputs) if batch_norm else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.stride = stride
        self.new_channels = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, ceil(h / stride), ceil(w / stride))."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + self._skip(x))

    def _skip(self, x: Tensor) -> Tensor:
        if self.stride == 1 and self.new_channels == 0:
            return x
        before = self.new_channels // 2
        after = self.new_channels - before
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, after))


class ResNet(nn.Module):
    """The CIFAR residual network of He et al. 2015: 3 stages of `blocks` blocks of two layers."""

    def __init__(
        self, blocks: int, num_classes: int, input_shape: Shape, width: int, batch_norm: bool
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(input_shape[0], width, 3, padding=1, bias=not batch_norm)
        self.bn1 = nn.BatchNorm2d(width) if batch_norm else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        stages, inputs = [], width
        for stage, outputs in enumerate((width, 2 * width, 4 * width)):
            stride = 1 if stage == 0 else 2
            first = BasicBlock(inputs, outputs, stride, batch_norm)
            rest = [BasicBlock(outputs, outputs, 1, batch_norm) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(first, *rest))
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(inputs, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew from PyTorch's current random state."""
        reset(self, he=True)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) -> logits (n, num_classes)."""
        x = self.relu(self.bn1(self.conv1(x)))
        return self.fc(self.flatten(self.pool(self.stages(x))))


def _resnet(depth: int) -> Callable[..., nn.Module]:
    def factory(
        num_classes: int = 10,
        input_shape: Shape = (3, 32, 32),
        width: int | None = None,
        batch_norm: bool = True,
    ) -> nn.Module:
        return ResNet(
            (depth - 2) // 6, num_classes, input_shape, 16 if width is None else width, batch_norm
        )

    factory.__name__ = f"resnet{depth}"
    factory.__doc__ = f"The CIFAR residual network of {depth} weight layers, 16 channels first."
    return recorded(factory)


resnet20 = _resnet(20)
resnet32 = _resnet(32)
resnet56 = _resnet(56)
resnet110 = _resnet(110)

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    factory.__name__: factory
    for factory in (
        *(fc, vconv, gconv, c4gap, c6white, c6late, vgg16),
        *(resnet20, resnet32, resnet56, resnet110, vit),
    )
}
"""Name -> factory(num_classes, input_shape, width, batch_norm)."""

WITHOUT_DLGN = frozenset({"vit"})
"""Those that only kind="dnn" and kind="dgn" take apart: they hold attention and LayerNorm, whose
multipliers no deep linear network can supply."""


@takes(
    ArchitectureError,
    name=text_value,
    num_classes=whole(1),
    input_shape=shape(3),
    width=optional(whole(1)),
    batch_norm=optional(flag),
)
def build(
    name: str,
    *,
    num_classes: int,
    input_shape: Shape,
    width: int | None = None,
    batch_norm: bool | None = None,
) -> nn.Module:
    """A reference architecture by name; None means the architecture's own default.

    Raises:
        ArchitectureError: unknown name, no width, or a shape that the architecture cannot take.

    >>> type(build("resnet20", num_classes=10, input_shape=(3, 32, 32))).__name__
    'ResNet'
    """
    if name not in ARCHITECTURES:
        raise ArchitectureError(
            f"architecture: expected one of {', '.join(ARCHITECTURES)}, got {name!r}"
            f"{did_you_mean(name, ARCHITECTURES)}"
        )
    options = {} if batch_norm is None else {"batch_norm": batch_norm}
    return ARCHITECTURES[name](
        num_classes=num_classes, input_shape=input_shape, width=width, **options
    )
