"""Properties proved here.

1. The names are those of the network's blocks, in order, of a model and of one taken apart.
2. A dropped block's output is the gate of its skip alone: a model equals one whose block is
   replaced by a module that computes just that; with and without batch norm.
3. Dropped from the weights network alone, the gates stay as they are to the bit; dropped from both,
   gates before the block stay and later ones change.
4. Dropping every block from the weights network leaves the same output for the stem and the gates
   computed by hand.
5. The network that was given is never changed, and a network without blocks is refused.
"""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dualview as dv
from dualview.architectures import build
from dualview.experiments.invariances.dropped_blocks import blocks, without
from dualview.training import SettingsError

NAMES = [f"stages.{stage}.{block}" for stage in range(3) for block in range(3)]


def _model(batch_norm=True):
    torch.manual_seed(1)
    model = build(
        "resnet20", num_classes=3, input_shape=(2, 8, 8), width=4, batch_norm=batch_norm
    ).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model.eval()


X = torch.randn(4, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class _SkipAlone(nn.Module):
    """relu of the block's skip."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return F.relu(self.block._skip(x))


def _same_state(before, net):
    return all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())


def test_names():
    model = _model()
    assert blocks(model) == NAMES
    assert blocks(dv.disentangle(model, "dlgn", seed=0)) == NAMES


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("name", ["stages.0.0", "stages.1.0", "stages.2.2"])
def test_a_dropped_block_is_its_skip(batch_norm, name):
    model = _model(batch_norm)
    before = copy.deepcopy(model.state_dict())
    expected = copy.deepcopy(model)
    _, stage, place = name.split(".")
    stages = expected.stages[int(stage)]
    stages[int(place)] = _SkipAlone(stages[int(place)])
    torch.testing.assert_close(without(model, [name])(X), expected(X))
    assert not torch.allclose(without(model, [name])(X), model(X))
    assert _same_state(before, model)


def test_where_gates_change():
    net = dv.disentangle(_model(), "dlgn", seed=0)
    before = copy.deepcopy(net.state_dict())
    gates = net.gates(X)
    weights = without(net, ["stages.1.1"], "weights")
    assert all(torch.equal(a, b) for a, b in zip(gates, weights.gates(X), strict=True))
    assert not torch.allclose(weights(X), net(X))
    both = without(net, ["stages.1.1"], "both")
    same = [torch.equal(a, b) for a, b in zip(gates, both.gates(X), strict=True)]
    # gate 0 is the stem's; block k has gates 2k + 1 and 2k + 2, the second after its addition
    assert same == [True] * 10 + [False] * 9
    assert _same_state(before, net)


def test_all_blocks_dropped_by_hand():
    net = dv.disentangle(_model(), "dlgn", seed=0)
    weights = net.weights_network
    gates = net.gates(X)
    value = weights.get_submodule("bn1")(weights.get_submodule("conv1")(X)) * gates[0]
    for block in range(9):
        gate = gates[2 * block + 2]
        if value.shape != gate.shape:
            more = gate.shape[1] - value.shape[1]
            value = F.pad(value[:, :, ::2, ::2], (0, 0, 0, 0, more // 2, more - more // 2))
        value = value * gate
    expected = weights.get_submodule("fc")(value.mean((2, 3)))
    torch.testing.assert_close(without(net, NAMES, "weights")(X), expected)


def test_no_blocks():
    with pytest.raises(SettingsError, match="expected a residual network"):
        blocks(build("c4gap", num_classes=2, input_shape=(1, 8, 8), width=4))
