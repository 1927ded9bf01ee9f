"""Models so small that every path of them can be listed."""

from __future__ import annotations

import itertools
import warnings

import torch
from torch import nn
from torch.nn import functional as F

from dualview import DualviewWarning, GatedNetwork, disentangle
from dualview.architectures.whitened import WhitenedPatches
from tests.cases import enliven


def dense(*widths: int, bias: bool = False) -> nn.Sequential:
    """Fully connected: input size, hidden widths, outputs."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias), nn.ReLU()]
    return enliven(nn.Sequential(*layers[:-1])).double()


def convolutional(
    channels: tuple[int, ...] = (1, 2, 2),
    padding_mode: str = "zeros",
    stride: int = 1,
    bias: bool = False,
    outputs: int = 2,
) -> nn.Sequential:
    """3 x 3 convolutions with padding 1, global average pooling, one dense layer."""
    layers: list[nn.Module] = []
    for i, (inputs, out) in enumerate(itertools.pairwise(channels)):
        step = stride if i else 1
        conv = nn.Conv2d(inputs, out, 3, step, 1, bias=bias, padding_mode=padding_mode)
        layers += [conv, nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], outputs, bias)]
    return enliven(nn.Sequential(*layers)).double()


def fixed_patches() -> nn.Sequential:
    """Gated patches along fixed directions, a convolution, global average pooling, dense."""
    patches = WhitenedPatches(1)
    patches.fit(torch.randn(20, 1, 4, 4))
    conv, head = nn.Conv2d(8, 1, 3, padding=1, bias=False), nn.Linear(1, 1, bias=False)
    layers = (patches, nn.ReLU(), conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    return nn.Sequential(*layers).double()


class PostActivation(nn.Module):
    """conv, identity skip with batch norm, strided option-A shortcut, pooling over positions."""

    def __init__(self, batch_norm: bool = True, bias: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, padding=1, bias=bias)
        self.inside = nn.Conv2d(2, 2, (1, 3), padding=(0, 1), bias=bias)
        self.norm = nn.BatchNorm2d(2) if batch_norm else nn.Identity()
        self.strided = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False)
        self.last = nn.Linear(3, 2, bias)
        enliven(self.double()).eval()

    def forward(self, x):
        x = F.relu(self.first(x))
        x = F.relu(self.norm(self.inside(x)) + x)
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 1))
        x = F.relu(self.strided(x) + shortcut)
        return self.last(x.mean((2, 3)))


class Pooled(nn.Module):
    """A pool between gate and convolution: averages or maxima."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 2, bias=True)
        self.pool = pool
        self.second = nn.Conv2d(2, 2, 2, padding=1, bias=False)
        self.last = nn.Linear(2, 2)
        enliven(self.double())

    def forward(self, x):
        x = self.pool(F.relu(self.first(x)))
        return self.last(F.relu(self.second(x)).mean((2, 3)))


class DenseBlocks(nn.Module):
    """Dense residual network: a first block, b blocks with skips, a last block (theory 4.4)."""

    def __init__(self, blocks: int, depth: int = 2, width: int = 2, inputs: int = 3) -> None:
        super().__init__()

        def block(first: int) -> nn.Sequential:
            sizes = [first, *[width] * depth]
            layers = [
                layer
                for a, b in itertools.pairwise(sizes)
                for layer in (nn.Linear(a, b, bias=False), nn.ReLU())
            ]
            return nn.Sequential(*layers)

        self.first = block(inputs)
        self.blocks = nn.ModuleList(block(width) for _ in range(blocks))
        self.last = block(width)[:-2]
        self.output = nn.Linear(width, 1, bias=False)
        self.double()

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.output(self.last(x))


def gated(model: nn.Module, kind: str = "dlgn", **options) -> GatedNetwork:
    """`disentangle` with a seed, in evaluation mode, batch norm's warning on ones left out."""
    if kind != "dnn":
        options = {"seed": 5, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DualviewWarning)
        net = disentangle(model, kind, **options).eval()
    if kind != "dnn":
        enliven(net.weights_network)
    return net


def images(n: int = 3, channels: int = 1, size: int = 3) -> torch.Tensor:
    return torch.randn(n, channels, size, size, dtype=torch.float64)


def max_pool_chain() -> nn.Sequential:
    """The shape of a VGG network: convolutions, max pools between them, global average pooling."""
    layers = [nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(2, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)]
    return enliven(nn.Sequential(*layers)).double()
