"""What the weights network gets for some examples: in float64, from a copy, gates as asked for.

What paths cannot be enumerated through, or holds no finite numbers, is refused.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.errors import PathKernelError, UnsupportedOperationError
from dualview.path_enumeration.edges import GateUnit
from dualview.path_enumeration.example_values import (
    entry_column,
    evaluated_inputs,
    gate_column,
    switch_windows,
)

pytestmark = pytest.mark.filterwarnings("ignore::dualview.DualviewWarning")
X = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def network(kind="dgn", *, last=(), **options):
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2))
    return dv.disentangle(nn.Sequential(*layers, *last), kind, seed=0, **options)


@pytest.mark.parametrize("gates", ["model", "hard"])
@pytest.mark.parametrize("weights_input", ["data", "ones"])
def test_they_are_the_networks(gates, weights_input):
    net = network(weights_input=weights_input).train()
    found = evaluated_inputs(net, X, gates)
    assert net.training
    assert set(found) == {"x", "gate_1", "switch_1"}
    own = net.double().eval()
    wanted, switches = own.gates_and_switches(X.double(), hard=gates == "hard")
    torch.testing.assert_close(found["gate_1"], wanted[0], rtol=0, atol=0)
    assert torch.equal(found["switch_1"], switches[0])
    assert torch.equal(
        found["x"], X.double() if weights_input == "data" else torch.ones_like(found["x"])
    )


def test_columns():
    found = evaluated_inputs(network(), X)
    assert torch.equal(entry_column(found["x"], (0, 1, 2)), X[:, 0, 1, 2].double())
    chosen = int(found["switch_1"][0, 0, 0, 0])
    column = gate_column(GateUnit("switch_1", (0, 0, 0), chosen), found)
    assert column[0] == 1
    assert set(column.tolist()) <= {0.0, 1.0}


def test_windows():
    (windows,) = switch_windows(network()).values()
    held = windows((4, 4))
    assert held.shape == (4, 16)
    assert held[0].nonzero().flatten().tolist() == [0, 1, 4, 5]
    assert held.sum(0).tolist() == [1] * 16


@pytest.mark.parametrize(
    ("x", "said"),
    [(X[:, :, :1, :1], r"one example of shape \(1, 1, 1\)"), (X * torch.nan, "NaN")],
)
def test_refused(x, said):
    with pytest.raises(PathKernelError, match=said):
        evaluated_inputs(network(), x)


def test_multipliers_are_refused():
    net = dv.disentangle(
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.LayerNorm(4), nn.Linear(4, 2)), "dgn", seed=0
    )
    with pytest.raises(UnsupportedOperationError, match="more than one factor a layer"):
        evaluated_inputs(net, torch.ones(1, 3))
