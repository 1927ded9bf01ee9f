"""The weights network.

- With constant-1 input its output is that of the same network fed a whole batch of ones, whatever
  stands before the first gate (reshapes, pools, skips, batch norm, dropout in evaluation mode).
- What no example changes is computed on one row.
- Batch norm on it is warned about.
"""

import warnings

import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.nn import functional as F

from dualview import DualviewWarning, disentangle
from dualview.architectures import WITHOUT_DLGN
from tests.cases import ARCHITECTURE_CASES, small_architecture, small_input
from tests.random_networks import random_networks


def disentangle_quietly(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DualviewWarning)
        return disentangle(*args, **kwargs)


def assert_ones_is_a_batch_of_ones(model, x, kind):
    ones = disentangle_quietly(model, kind, weights_input="ones", seed=3).eval()
    data = disentangle(model, kind, seed=3).eval()
    gates, switches = ones.gates_and_switches(x)
    expected = data.weights_network(torch.ones_like(x), *gates, *switches)
    torch.testing.assert_close(ones(x), expected)


@pytest.mark.parametrize(("name", "batch_norm"), ARCHITECTURE_CASES)
def test_ones_on_architectures(name, batch_norm):
    model = small_architecture(name, batch_norm)
    kind = "dgn" if name in WITHOUT_DLGN else "dlgn"
    assert_ones_is_a_batch_of_ones(model, small_input(name), kind)


@settings(max_examples=60)
@given(random_networks())
def test_ones_on_random_networks(model):
    x = torch.randn(3, *model.input_shape, dtype=torch.float64)
    assert_ones_is_a_batch_of_ones(model, x, "dgn")


class Reshapes(nn.Module):
    def __init__(self, reshape):
        super().__init__()
        self.reshape = reshape
        self.fc1, self.fc2 = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x):
        n = x.size(0)
        y = self.reshape(x, n)
        z = F.relu(self.fc1(y)) + y
        return self.fc2(z.view(n, -1))


RESHAPES = {
    "view(n, -1)": lambda x, n: x.view(n, -1),
    "view(shape[0], -1)": lambda x, n: x.view(x.shape[0], -1),
    "view(-1, 6)": lambda x, n: x.view(-1, 6),
    "reshape((n, 6))": lambda x, n: x.reshape((n, 6)),
    "flatten(1)": lambda x, n: x.flatten(1),
    "flatten(start_dim)": lambda x, n: torch.flatten(x, start_dim=1),
    "permute and back": lambda x, n: x.permute(1, 2, 0).permute(2, 0, 1).reshape(n, 6),
    "concatenated halves": lambda x, n: torch.cat([x[:, :1], x[:, 1:]], 1).flatten(1),
    "dropout": lambda x, n: F.dropout(x, 0.5, False).flatten(1),
    "pad": lambda x, n: F.pad(x[:, :, :2], (0, 1)).flatten(1),
}


@pytest.mark.parametrize("name", RESHAPES)
def test_ones_through_reshapes(name):
    model = Reshapes(RESHAPES[name]).double()
    assert_ones_is_a_batch_of_ones(model, torch.randn(4, 2, 3, dtype=torch.float64), "dlgn")


@pytest.mark.parametrize(("weights_input", "rows"), [("ones", 1), ("data", 7)])
def test_first_layer_sees_one_row(weights_input, rows):
    seen = []

    class Counting(nn.Linear):
        def forward(self, x):
            seen.append(x.shape[0])
            return super().forward(x)

    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    net = disentangle(model, "dlgn", weights_input=weights_input)
    net.weights_network.get_submodule("0").__class__ = Counting
    net(torch.randn(7, 3))
    assert seen == [rows]


def test_batch_norm_on_ones_is_warned_about():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
    with pytest.warns(DualviewWarning, match=r"BatchNorm2d \(module '1'\).*same value"):
        disentangle(model, "dlgn", weights_input="ones")
    later = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        disentangle(later, "dlgn", weights_input="ones")


def test_training_batch_norm_sees_the_whole_batch():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())
    net = disentangle_quietly(model, "dlgn", weights_input="ones").train()
    # Every row is alike, so the normalised value is the batch norm's bias: 0 at its start.
    assert net(torch.randn(5, 3)).abs().max() < 1e-5
