"""Maxima along axes.

- In every spelling, over a whole map, tokens, channels beside positions or all of them, kept or
  not, a maximum is a max pool's switch: the dual form equals the model in float64, for images of
  other sizes too, and a DLGN averages in its place.
- Its kernel (as a switch of the weights network) is the oracle's, and so are its paths.
- A map padded with minus infinity before a pool is a pool that pads by itself: finite in a DLGN.
- Maxima over the examples, and places of maxima, are refused.
"""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.errors import UnsupportedOperationError
from dualview.path_enumeration import recursive_npk
from tests.path_attribution.listed import assert_same_paths


class Maximum(nn.Module):
    """convolution, ReLU, `take`, flattened, dense."""

    def __init__(self, take, width=4):
        super().__init__()
        self.conv, self.fc, self.take = nn.Conv2d(2, 4, 3, padding=1), nn.LazyLinear(3), take

    def forward(self, x):
        return self.fc(self.take(torch.relu(self.conv(x)) - 0.3).flatten(1))


SPELLINGS = {
    "amax((2, 3))": lambda h: h.amax((2, 3)),
    "torch.amax, kept": lambda h: torch.amax(h, dim=(-1, -2), keepdim=True),
    "max of the flat map": lambda h: h.flatten(2).max(-1)[0],
    "torch.max(...).values": lambda h: torch.max(h.flatten(2), dim=2).values,
    "tokens first": lambda h: h.flatten(2).transpose(1, 2).amax(1),
    "tokens first, kept": lambda h: h.flatten(2).mT.max(dim=1, keepdim=True)[0],
    "channels": lambda h: h.amax(1),
    "channels, kept": lambda h: h.max(1, keepdim=True).values,
    "channels and rows": lambda h: h.amax((1, 2)),
    "columns and channels, kept": lambda h: h.amax((-1, 1), keepdim=True),
    "features of tokens": lambda h: h.flatten(2).mT.amax(-1),
    "rows": lambda h: h.amax(2),
    "all": lambda h: h.amax((1, 2, 3))[:, None],
    "all, kept": lambda h: h.amax((1, 2, 3), keepdim=True),
    "of a vector": lambda h: h.mean((2, 3)).amax(1, keepdim=True),
    "groups of channels": lambda h: h.unflatten(1, (2, 2)).amax(2),
    "padded with -inf": lambda h: F.max_pool2d(F.pad(h, (1, 1, 1, 1), value=-math.inf), 3, 2),
    "nn.ConstantPad2d": lambda h: F.max_pool2d(nn.ConstantPad2d(1, -math.inf)(h), 3, stride=2),
}


def alive(take):
    torch.manual_seed(0)
    model = Maximum(take).double()
    x = torch.randn(3, 2, 5, 4, dtype=torch.float64)
    model(x)
    return model, x


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_switch(name):
    model, x = alive(SPELLINGS[name])
    net = dv.disentangle(model, "dnn", example_input=x)
    torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-12)
    assert len(net.gates_and_switches(x)[1]) == 1
    dlgn = dv.disentangle(model, "dlgn", example_input=x, seed=0)
    assert bool(torch.isfinite(dlgn(x)).all())


@pytest.mark.parametrize("name", SPELLINGS)
def test_kernel_and_paths(name):
    torch.manual_seed(0)
    model = Maximum(SPELLINGS[name]).double()
    x = torch.randn(2, 2, 3, 2, dtype=torch.float64)
    model(x)
    net = dv.disentangle(model, "dnn", example_input=x, max_pool="switch").eval()
    oracle = recursive_npk(net, x)
    assert oracle.abs().min() > 0
    torch.testing.assert_close(dv.npk(net, x, normalise=False), oracle, rtol=1e-10, atol=1e-12)
    assert_same_paths(net, x[:1])


def test_of_channels_for_images_of_another_size():
    class Largest(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(1, 2, 1)

        def forward(self, x):
            return self.last(torch.relu(self.conv(x)).amax(1, keepdim=True)).mean((2, 3))

    model = Largest().double()
    net = dv.disentangle(model, "dnn", example_input=torch.randn(2, 2, 3, 2).double())
    x = torch.randn(3, 2, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "take", [lambda h: h.amax(0), lambda h: h.amax((0, 1)), lambda h: h.max(1)[1].double()]
)
def test_other_maxima_are_refused(take):
    model, x = alive(take)
    with pytest.raises(UnsupportedOperationError, match="maximum"):
        dv.disentangle(model, "dnn", example_input=x)
