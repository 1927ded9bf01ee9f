"""Properties proved here.

1. A walk's offsets are the network's value at 0, its map has their shape, and its count of elements
   is that of all values.
2. One value without a closed form takes it from what depends on it, and from nothing else.
3. Kernels of values that nobody reads any more are let go.
4. A shape that an operation cannot take is refused with the operation and the shape.
5. Closed forms are in the network's type.
"""

import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dualview.errors import PrimalFilterError
from dualview.primal import composition
from dualview.primal.affine import layer_network
from dualview.primal.composition import walk
from tests.primal.oracle import assert_close, gated, stack

CHAIN = [nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Conv2d(2, 3, 2)]


def test_a_walk():
    network = layer_network(gated(stack(*CHAIN)), 0)
    walked = walk(network, torch.randn(1, 1, 5, 4, dtype=torch.float64))
    assert_close(walked.offsets, network(torch.zeros(1, 1, 5, 4, dtype=torch.float64))[0])
    assert walked.local.shape == walked.offsets.shape == (3, 4, 3)
    assert walked.elements == 20 + 40 + 40 + 36


class TwoBranches(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, padding=1)
        self.second = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x):
        resampled = F.interpolate(self.first(x), scale_factor=1.0, mode="nearest")
        return torch.relu(resampled + self.second(x)) + torch.relu(self.second(x))


def test_only_what_depends_on_it_loses_its_closed_form():
    net = gated(TwoBranches())
    x = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    assert walk(layer_network(net, 0), x).local is None
    assert walk(layer_network(net, 1), x).local is not None


def test_kernels_are_let_go(monkeypatch):
    alive = weakref.WeakSet()
    most = 0

    rule = composition.RULES["convolution"]

    def counting(call):
        nonlocal most
        result = rule(call)
        alive.add(result)
        most = max(most, len(alive))
        return result

    monkeypatch.setitem(composition.RULES, "convolution", counting)
    deep = stack(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(8)))
    walk(layer_network(gated(deep), 0), torch.zeros(1, 1, 30, 30, dtype=torch.float64))
    assert most <= 3


def test_shapes_that_do_not_fit_are_refused():
    network = layer_network(gated(stack(*CHAIN)), 0)
    with pytest.raises(PrimalFilterError, match=r"Conv2d .*shape \(1, 2, 5, 4\).*input_shape"):
        walk(network, torch.zeros(1, 2, 5, 4, dtype=torch.float64))


def test_one_image_taken_for_a_batch_is_refused():
    network = layer_network(gated(stack(nn.Conv2d(1, 3, 3, padding=1))), 0)
    with pytest.raises(PrimalFilterError, match=r"input_shape: .*got \(5, 6\).*channels included"):
        walk(network, torch.zeros(1, 5, 6, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_types(dtype):
    network = layer_network(gated(stack(*CHAIN)).to(dtype), 0)
    walked = walk(network, torch.zeros(1, 1, 5, 4, dtype=dtype))
    assert walked.offsets.dtype == walked.local.kernels.dtype == dtype
