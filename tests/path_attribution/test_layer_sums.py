"""All layers' contributions at once.

- They are `layer_contributions` of every layer and output: for every kind of network, dense,
  convolutional, strided, residual, and of constant-1 input; with in-place additions too.
- Nothing bypasses the layers of a chain but biases: skips are exactly 0 there, and are not where
  there is a skip.
"""

import numpy as np
import pytest
import torch
from torch import nn

import dualview as dv
from dualview.path_attribution.contributions import layer_contributions
from dualview.path_attribution.layer_sums import contributions_of_layers
from tests.explorer.explanations.cases import CASES, exact, inputs_of, model, network

OUTPUTS = (2, 0)


def check(net, x, outputs):
    for output, layers in zip(outputs, contributions_of_layers(net, x, outputs), strict=True):
        assert len(layers) == net.n_gates
        for number, found in enumerate(layers):
            wanted = layer_contributions(net, x, output, number)
            np.testing.assert_allclose(found.units, wanted.units, rtol=1e-9, atol=1e-13)
            for name in ("skips", "biases", "total"):
                close = pytest.approx(getattr(wanted, name), rel=1e-9, abs=1e-12)
                assert getattr(found, name) == close
            assert (found.output, found.layer, found.name) == (
                wanted.output,
                wanted.layer,
                wanted.name,
            )


@pytest.mark.parametrize(("shape", "kind"), CASES)
def test_the_librarys(shape, kind):
    check(exact(network(shape, kind)), inputs_of(3), OUTPUTS)


def test_ones():
    net = dv.disentangle(model("convolutional").double(), seed=0, weights_input="ones").eval()
    check(net, inputs_of(0), OUTPUTS)


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x):
        x = torch.relu(self.first(x))
        y = torch.relu(self.second(x))
        y += x
        return self.third(y)


def test_in_place_additions():
    net = dv.disentangle(InPlace().double(), seed=0).eval()
    x = torch.randn(1, 4).double()
    check(net, x, [1, 3])
    (layers,) = contributions_of_layers(net, x, [1])
    assert layers[0].skips == 0
    assert layers[1].skips != 0


@pytest.mark.parametrize("shape", ["dense", "convolutional", "strided"])
def test_chains_have_no_skips(shape):
    for layers in contributions_of_layers(exact(network(shape)), inputs_of(1), OUTPUTS):
        assert [layer.skips for layer in layers] == [0.0] * len(layers)
