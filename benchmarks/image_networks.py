"""Networks for images of 224 pixels, written out here so that no package brings them.

Source: He et al., "Deep residual learning for image recognition", arXiv 1512.03385, table 1, with
the stride in the 3x3 convolution of a bottleneck; Howard et al., "MobileNets", arXiv 1704.04861,
table 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

SIZE = 224
"""Pixels of a side."""


class Block(nn.Module):
    """A residual block: two 3x3 convolutions, or a bottleneck of 1x1, 3x3, 1x1."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        outputs = 4 * width if bottleneck else width
        layers: list[nn.Module] = []
        if bottleneck:
            layers += [*convolution(inputs, width, 1), nn.ReLU()]
            layers += [*convolution(width, width, 3, stride), nn.ReLU()]
            layers += convolution(width, outputs, 1)
        else:
            layers += [*convolution(inputs, width, 3, stride), nn.ReLU()]
            layers += convolution(width, outputs, 3)
        self.branch = nn.Sequential(*layers)
        same = stride == 1 and inputs == outputs
        self.skip = nn.Sequential(*(() if same else convolution(inputs, outputs, 1, stride)))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h', w')."""
        return self.relu(self.branch(x) + self.skip(x))


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    """A convolution that pads by half its size, and its batch norm."""
    conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


def image_resnet(
    blocks: Sequence[int], bottleneck: bool, width: int = 64, classes: int = 1000
) -> nn.Sequential:
    """The stem (a 7x7 convolution and a max pool), stages of blocks, the mean, a dense layer."""
    layers = [*convolution(3, width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
    channels = width
    for stage, count in enumerate(blocks):
        inner = width * 2**stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            layers.append(Block(channels, inner, stride, bottleneck))
            channels = 4 * inner if bottleneck else inner
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return nn.Sequential(*layers)


def resnet18() -> nn.Sequential:
    """ResNet-18: 11.7 million parameters."""
    return image_resnet((2, 2, 2, 2), bottleneck=False)


def resnet50() -> nn.Sequential:
    """ResNet-50: 25.6 million parameters."""
    return image_resnet((3, 4, 6, 3), bottleneck=True)


def depthwise_separable(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    """A 3x3 convolution of each channel, then a 1x1 convolution."""
    conv = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
    each = [conv, nn.BatchNorm2d(inputs), nn.ReLU()]
    return [*each, *convolution(inputs, outputs, 1), nn.ReLU()]


def mobilenet(width: int = 32, classes: int = 1000) -> nn.Sequential:
    """MobileNet: 4.2 million parameters, if it is 32 wide."""
    layers = [*convolution(3, width, 3, 2), nn.ReLU()]
    channels = width
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    for times, stride in zip((2, 4, 4, 8, 8, *(16,) * 6, 32, 32), strides, strict=True):
        layers += depthwise_separable(channels, times * width, stride)
        channels = times * width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return nn.Sequential(*layers)
