"""Initial parameters.

- Weights are Glorot-uniform, or He-normal for convolutions; biases 0; normalisation at its start.
"""

import math

import torch
from torch import nn

from dualview.architectures.drawing import reset


def network():
    layers = [nn.Conv2d(8, 50, 3), nn.BatchNorm2d(50), nn.Linear(60, 70), nn.LayerNorm(70)]
    model = nn.Sequential(*layers)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 7.0)
    return model


def test_glorot():
    model = network()
    reset(model, he=False)
    for layer, bound in ((model[0], 6 / (9 * 58)), (model[2], 6 / 130)):
        assert (
            0.95 * math.sqrt(bound) < float(layer.weight.detach().abs().max()) <= math.sqrt(bound)
        )
    assert all(not layer.bias.any() for layer in model)
    assert all(torch.equal(model[i].weight, torch.ones_like(model[i].weight)) for i in (1, 3))


def test_he_is_for_convolutions_only():
    model = network()
    reset(model, he=True)
    assert 0.9 < float(model[0].weight.detach().std()) / math.sqrt(2 / (9 * 50)) < 1.1
    assert float(model[2].weight.detach().abs().max()) <= math.sqrt(6 / 130)
