"""Linear maps of every kind of layer, whose rows are asked about, and their matrices."""

import math

import torch
from torch import nn

from dualview.primal.windows import LinearMap


class Skip(nn.Module):
    """What went in, and a convolution of it."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return x + self.layer(x)


def grouped():
    """Depthwise, a shuffle, groups."""
    layers = (
        nn.Conv2d(4, 4, 3, 2, 1, groups=4),
        nn.ChannelShuffle(2),
        nn.Conv2d(4, 6, 3, padding=1, groups=2),
    )
    return nn.Sequential(*layers), (4, 13, 12)


def upsampled():
    """Positions that read unlike their neighbours."""
    layers = nn.Conv2d(1, 2, 3), nn.Upsample(scale_factor=2), nn.Conv2d(2, 3, 2)
    return nn.Sequential(*layers), (1, 8, 9)


def transposed():
    """A transposed convolution and dilation."""
    return nn.Sequential(nn.ConvTranspose2d(2, 2, 3, 2), nn.Conv2d(2, 3, 3, dilation=2)), (2, 6, 7)


def circular():
    """Rows that read both ends."""
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, padding_mode="circular")), (1, 9, 8)


def pooled():
    """A skip behind a pool that goes over the edge."""
    skip = Skip(nn.Conv2d(2, 2, 3, padding=1))
    return nn.Sequential(nn.AvgPool2d(3, 2, 1, ceil_mode=True), skip), (2, 14, 11)


def signal():
    """One position axis."""
    return nn.Sequential(nn.Conv1d(2, 3, 5, 2), nn.Conv1d(3, 4, 2)), (2, 40)


def wide():
    """Every gate reads everything."""
    return nn.Sequential(nn.Conv2d(1, 2, 9, padding=4), nn.Conv2d(2, 3, 5, padding=2)), (1, 6, 5)


LAYERS = {
    made.__name__: made for made in (grouped, upsampled, transposed, circular, pooled, signal, wide)
}


def linear_of(model: nn.Module, shape: tuple[int, ...]) -> LinearMap:
    """The linear part of a model, float64."""
    model = model.double().eval().requires_grad_(False)
    zeros = torch.zeros(1, *shape, dtype=torch.float64)
    value, pull_back = torch.func.vjp(model, zeros)
    pull = torch.func.vmap(pull_back)

    def push(vectors):
        return (model(vectors) - value).detach()

    def rows(weights):
        return pull(weights.unsqueeze(1))[0].squeeze(1)

    return LinearMap(shape, tuple(value.shape[1:]), zeros, rows, push)


def matrix_of(linear: LinearMap) -> torch.Tensor:
    """(gates, inputs), from the values of unit vectors."""
    units = torch.eye(math.prod(linear.input_shape), dtype=torch.float64)
    return linear.push(units.reshape(-1, *linear.input_shape)).flatten(1).T
