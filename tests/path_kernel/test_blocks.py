"""Blocks that people have, against the recursion over all pairs of entries.

- A mixer, a ConvNeXt block, a vision transformer's block with its `qkv` taken apart as timm does,
  norms of groups and of channels whose values are pooled twice and added, sums over heads, and
  switches over a map or over channels have exact kernels: `npk` and `expected_ntk`.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from tests.path_kernel.second_moments import second_moments

pytestmark = pytest.mark.filterwarnings("ignore::dualview.DualviewWarning")


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.norm1, self.norm2 = nn.Conv2d(1, 3, 2, 2), nn.LayerNorm(3), nn.LayerNorm(3)
        self.tokens = nn.Sequential(nn.Linear(4, 2), nn.GELU(), nn.Linear(2, 4))
        self.channels = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 3))
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        h = self.patch(x).flatten(2).transpose(1, 2)
        h = h + self.tokens(self.norm1(h).transpose(1, 2)).transpose(1, 2)
        return self.head((h + self.channels(self.norm2(h))).mean(1))


class ConvNeXt(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(1, 3, 1), nn.Conv2d(3, 3, 3, padding=1, groups=3)
        self.norm, self.wide, self.narrow = nn.LayerNorm(3), nn.Linear(3, 4), nn.Linear(4, 3)
        self.register_buffer("scale", torch.tensor([0.5, 2.0, -1.0]))
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        h = self.stem(x)
        y = self.narrow(F.gelu(self.wide(self.norm(self.depthwise(h).permute(0, 2, 3, 1)))))
        return self.head((h + (self.scale * y).permute(0, 3, 1, 2)).mean((2, 3)))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.norm1, self.norm2 = nn.Conv2d(1, 4, 2, 2), nn.LayerNorm(4), nn.LayerNorm(4)
        self.qkv, self.out = nn.Linear(4, 12), nn.Linear(4, 4)
        self.wide, self.narrow, self.head = nn.Linear(4, 3), nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        h = self.patch(x).flatten(2).mT
        parts = self.qkv(self.norm1(h)).unflatten(-1, (3, 2, 2))
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = (q @ k.mT / 2**0.5).softmax(-1) @ v
        h = h + self.out(mixed.transpose(1, 2).flatten(2))
        return self.head((h + self.narrow(F.gelu(self.wide(self.norm2(h)))))[:, 0])


class Pools(nn.Module):
    """conv, norm, ReLU, two pools that are added, conv, ReLU, `last`, dense."""

    def __init__(self, norm, pool, last):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 2), nn.Conv2d(4, 4, 2, padding=1)
        self.norm, self.pool, self.head = norm, pool, nn.LazyLinear(2)
        object.__setattr__(self, "last", last)

    def forward(self, x):
        h = F.relu(self.norm(self.first(x)))
        h = self.pool(h) + F.avg_pool2d(h, 2, 1)
        return self.head(self.last(F.relu(self.second(h))).flatten(1))


BLOCKS = {
    "mixer": Mixer,
    "ConvNeXt": ConvNeXt,
    "vision transformer": Transformer,
    "group norm, pool + pool": lambda: Pools(
        nn.GroupNorm(2, 4), nn.AvgPool2d(2, 1), lambda h: h.mean((2, 3))
    ),
    "instance norm, max pool + pool, maximum over the map": lambda: Pools(
        nn.InstanceNorm2d(4), nn.MaxPool2d(2, 1), lambda h: h.amax((2, 3))
    ),
    "summed heads, maximum over channels": lambda: Pools(
        nn.Identity(), nn.AvgPool2d(2, 1), lambda h: h.unflatten(1, (2, 2)).sum(1).amax(1)
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_exact(name):
    torch.manual_seed(0)
    model, x = BLOCKS[name]().double(), torch.randn(2, 1, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        model(x)
        net = dv.disentangle(model, "dgn", example_input=x, seed=0, max_pool="switch").eval()
        npk, ntk = second_moments(net, x, x)
        assert npk.abs().min() > 1e-12
        torch.testing.assert_close(dv.npk(net, x), npk, rtol=1e-10, atol=0)
        torch.testing.assert_close(dv.expected_ntk(net, x), ntk, rtol=1e-10, atol=0)
