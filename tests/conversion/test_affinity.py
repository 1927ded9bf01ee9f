"""What stays linear in a DLGN: the table of the page "Beyond ReLU", kind by kind.

- Behind every activation that has a gate, max pools, batch norm, weight standardisation, and before
  a last squash, pre-activations are affine in the input, and `affine_layers` says so. Behind an
  embedding they are in one-hot vectors, and not in the numbers of tokens.
- Behind a multiplier they are not, and it says so, too; its own ReLU is no gated layer.
- A multiplier before the first gate leaves nothing affine and is refused. In a DGN the first layer
  alone is affine.
"""

from __future__ import annotations

import inspect
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.conversion.activations import GATE_OF_MODULE
from dualview.errors import ConversionError

D = torch.float64


class Between(nn.Module):
    """convolution, ReLU, `step`, convolution, ReLU, average, dense, `last`."""

    def __init__(self, step, last=None, front=None):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.fc, self.step = nn.Linear(4, 3), step
        self.last, self.front = last or nn.Identity(), front or nn.Identity()

    def forward(self, x):
        h = self.step(torch.relu(self.first(self.front(x))))
        return self.last(self.fc(torch.relu(self.second(h)).mean((2, 3))))


class Standardised(nn.Conv2d):
    """Weight standardisation."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias, padding=1)


class Squeezed(nn.Module):
    def __init__(self):
        super().__init__()
        self.narrow, self.wide = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)

    def forward(self, h):
        squeezed = torch.relu(self.narrow(h.mean((2, 3), keepdim=True)))
        return h * torch.sigmoid(self.wide(squeezed))


class Efficient(nn.Module):
    """ECA: a convolution over the channels of the average."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, h):
        weights = self.conv(h.mean((2, 3)).unsqueeze(1)).transpose(1, 2).unsqueeze(-1)
        return h * torch.sigmoid(weights)


class Branches(nn.Module):
    """Selective kernels: two branches, weighed by a softmax over them."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.fc = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(4, 8)

    def forward(self, h):
        branches = torch.stack([self.one(h), self.two(h)], 1)
        scores = self.fc(branches.sum(1).mean((2, 3))).view(-1, 2, 4, 1, 1)
        return (branches * torch.softmax(scores, 1)).sum(1)


class Gated(nn.Module):
    """GLU, SwiGLU and the like over channels."""

    def __init__(self, activation):
        super().__init__()
        self.both, self.activation = nn.Conv2d(4, 8, 1), activation

    def forward(self, h):
        value, gate = self.both(h).chunk(2, 1)
        return value * self.activation(gate)


class Attended(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, h):
        tokens = h.flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens)[0].transpose(1, 2).unflatten(2, (4, 4))


class Step(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, h):
        return self.function(h)


def _made(kind):
    given = {"threshold": 0.0, "value": 0.0, "num_parameters": 4, "inplace": False}
    names = inspect.signature(kind).parameters
    return kind(**{name: given[name] for name in names if name in given})


ACTIVATIONS = {
    kind.__name__: lambda kind=kind: _made(kind)
    for kind in GATE_OF_MODULE
    if kind.__module__.startswith("torch.")
}
AFFINE = {
    "nothing": nn.Identity,
    "MaxPool2d": lambda: nn.MaxPool2d(2),
    "AdaptiveMaxPool2d": lambda: nn.AdaptiveMaxPool2d(2),
    "a maximum over tokens": lambda: Step(
        lambda h: h.flatten(2).amax(2)[:, :, None, None].expand(-1, -1, 2, 2)
    ),
    "BatchNorm2d": lambda: nn.BatchNorm2d(4),
    "weight standardisation": lambda: Standardised(4, 4, 3),
}
MULTIPLIED = {
    "squeeze-and-excite": Squeezed,
    "ECA": Efficient,
    "selective kernels": Branches,
    "GLU": lambda: Gated(nn.Sigmoid()),
    "SwiGLU": lambda: Gated(nn.SiLU()),
    "ReGLU": lambda: Gated(nn.ReLU()),
    "F.glu": lambda: Step(lambda h: F.glu(torch.cat([h, h.flip(1)], 1), 1)),
    "softmax over channels": lambda: Step(lambda h: h * torch.softmax(h.mean((2, 3), True), 1)),
    "addcmul": lambda: Step(lambda h: torch.addcmul(h, h, torch.sigmoid(h.flip(1)))),
    "a quotient": lambda: Step(lambda h: h / (1 + h.mean((1, 2, 3), keepdim=True))),
    "GroupNorm": lambda: nn.GroupNorm(2, 4),
    "InstanceNorm2d": lambda: nn.InstanceNorm2d(4),
    "LocalResponseNorm": lambda: nn.LocalResponseNorm(3, alpha=0.5),
    "LayerNorm": lambda: nn.LayerNorm([4, 4, 4]),
    "RMSNorm": lambda: nn.RMSNorm([4]),
    "attention": Attended,
    "as_multiplier": lambda: Step(lambda h: h * dv.as_multiplier(h.flip(1))),
}


def dlgn(model, x):
    torch.manual_seed(0)
    model = model.to(D).eval()
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.1, 0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dv.DualviewWarning)
        return dv.disentangle(model, "dlgn", example_input=x, seed=0).eval()


def is_affine(net, layer, x, y):
    """Whether a pre-activation halfway between two inputs is halfway between theirs."""
    at_x, at_y, between = (net.preactivations(v)[layer] for v in (x, y, (x + y) / 2))
    return torch.allclose((at_x + at_y) / 2, between, rtol=1e-11, atol=1e-12)


def inputs():
    source = torch.Generator().manual_seed(1)
    return (torch.randn(3, 2, 4, 4, dtype=D, generator=source) for _ in range(2))


@pytest.mark.parametrize("name", [*AFFINE, *ACTIVATIONS])
def test_affine_behind(name):
    x, y = inputs()
    net = dlgn(Between({**AFFINE, **ACTIVATIONS}[name]()), x)
    assert net.n_gates == 2 + (name in ACTIVATIONS)
    assert net.affine_layers == (True,) * net.n_gates
    assert all(is_affine(net, layer, x, y) for layer in range(net.n_gates))


@pytest.mark.parametrize("name", MULTIPLIED)
def test_not_affine_behind(name):
    x, y = inputs()
    net = dlgn(Between(MULTIPLIED[name]()), x)
    assert net.affine_layers == (True, False)
    assert [is_affine(net, layer, x, y) for layer in range(2)] == [True, False]


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.LogSoftmax(1), nn.Sigmoid()])
def test_a_last_squash_is_no_part_of_the_gates(last):
    x, y = inputs()
    net = dlgn(Between(nn.Identity(), last), x)
    assert net.squash is not None
    assert net.affine_layers == (True, True)
    assert all(is_affine(net, layer, x, y) for layer in range(2))


def test_affine_in_the_one_hot_vectors_of_tokens():
    tokens = torch.tensor([[0, 1, 2], [3, 3, 1]])
    layers = nn.Embedding(5, 4), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU()
    net = dlgn(nn.Sequential(*layers, nn.Flatten(), nn.Linear(12, 2)), tokens)
    assert net.affine_layers == (False, False)  # in the numbers of tokens they are not
    crossed = torch.tensor([[0, 3, 2], [3, 1, 1]])  # the same tokens at each place, in other texts
    ours, theirs = (net.preactivations(texts)[1].sum(0) for texts in (tokens, crossed))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("front", [nn.GroupNorm(1, 2), nn.LayerNorm([2, 4, 4])])
def test_a_multiplier_before_the_first_gate_is_refused(front):
    x, _ = inputs()
    with pytest.raises(ConversionError, match="affine"):
        dlgn(Between(nn.Identity(), front=front), x)


def test_of_a_dgn_the_first_layer_alone_is_affine():
    x, y = inputs()
    model = Between(nn.Identity()).to(D).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dv.DualviewWarning)
        net = dv.disentangle(model, "dgn", seed=0)
    assert net.affine_layers == (True, False)
    assert [is_affine(net, layer, x, y) for layer in range(2)] == [True, False]
