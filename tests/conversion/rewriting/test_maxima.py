"""Maxima over positions.

- In every spelling, over a whole map or over tokens, kept or not, a maximum is a max pool's switch:
  the dual form equals the model in float64, and a DLGN averages in its place.
- A map padded with minus infinity before a pool is a pool that pads by itself: finite in a DLGN.
- Maxima over the examples, or over channels beside positions, are refused.
"""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.errors import UnsupportedOperationError


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


@pytest.mark.parametrize(
    "take", [lambda h: h.amax(0), lambda h: h.amax((1, 2)), lambda h: h.max(1)[1].double()]
)
def test_other_maxima_are_refused(take):
    model, x = alive(take)
    with pytest.raises(UnsupportedOperationError, match="maximum"):
        dv.disentangle(model, "dnn", example_input=x)
