"""The networks of the spectrum experiment: for functions of one or two numbers, and for images.

With one seed, the gating network of a DGN or DLGN starts from the DNN's parameters, and its weights
network is drawn independently of them.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn

from dualview.architectures import Sequential, Shape
from dualview.conversion.gates import SoftGate
from dualview.experiments.networks import drawn_apart


def function_network(
    kind: str, seed: int, *, dimension: int, width: int, depth: int, beta: float
) -> nn.Module:
    """Fully connected, (n, dimension) -> (n, 1), `depth` weight layers, the hidden ones of `width`.

    Weights and biases are drawn as PyTorch's `Linear` draws them: biases are not 0, since with one
    input and biases 0 every gate of a layer would change at the same point.
    """
    sizes = [dimension] + [width] * (depth - 1)

    def model() -> nn.Module:
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(sizes[-1], 1))

    return drawn_apart(model, kind, seed, SoftGate(beta), torch.zeros(1, dimension))


def circular_c4gap(
    kind: str, seed: int, *, num_classes: int, input_shape: Shape, width: int, beta: float
) -> nn.Module:
    """C4GAP with circular padding, which makes its linear layers products in the Fourier basis.

    Four 3x3 convolutions of `width` channels with batch norm, global average pooling, one dense
    layer; the width is that of every layer.

    Source: arXiv 2110.03403 (C4GAP, there with zero padding and without batch norm).
    """
    channels = [input_shape[0]] + [width] * 4

    def model() -> nn.Module:
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(channels):
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="circular")
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
        pooling = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return Sequential([*layers, *pooling, nn.Linear(width, num_classes)])

    return drawn_apart(model, kind, seed, SoftGate(beta), torch.zeros(1, *input_shape))
