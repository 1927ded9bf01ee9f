"""What each kind promises, and the options under which it refuses or warns.

1. `dnn` takes no option that would change the model's output; the one that does is named.
2. Gate orders are permutations of layers of equal shape.
3. `dlgn-sf` replays no pool and has no multipliers; a `dlgn` of which no layer is affine is
   refused, and one of which some are not says which.
4. Dropout in training mode is warned of; a batch norm on both sides of the last gate is refused.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.errors import ConversionError, GateOrderError, UnsupportedOperationError


def chain(*between, last=()):
    return nn.Sequential(
        nn.Linear(3, 4), nn.ReLU(), *between, nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2), *last
    )


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"gate": "soft"}, "gate='soft'"),
        ({"weights_input": "ones"}, "weights_input='ones'"),
        ({"gate_order": (1, 0)}, "gate_order"),
    ],
)
def test_dnn_is_the_models_own(option, named):
    with pytest.raises(ConversionError, match=f"own dual form.*{named}"):
        dv.disentangle(chain(), "dnn", **option)
    dv.disentangle(chain(), "dnn", gate="hard", gate_order=(0, 1))


@pytest.mark.parametrize("order", [(0, 0), (0,), (1, 2), {0: 1, 1: 0}, "01", (0.0, 1.0)])
def test_orders_that_are_none(order):
    with pytest.raises(GateOrderError, match=r"permutation of 0 \.\.\. 1"):
        dv.disentangle(chain(), "dgn", gate_order=order)


def test_orders_of_unequal_layers():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    with pytest.raises(GateOrderError, match=r"needs gates of shape \(4,\)"):
        dv.disentangle(model, "dgn", gate_order=(1, 0), example_input=torch.zeros(1, 3))
    late = dv.disentangle(model, "dgn", gate_order=(1, 0), seed=0)
    with pytest.raises(GateOrderError, match="layer 0 needs gates of shape"):
        late(torch.zeros(1, 3))


def test_shallow_features():
    with pytest.raises(ConversionError, match="max_pool='switch'"):
        dv.disentangle(chain(), "dlgn-sf", max_pool="switch")
    with pytest.raises(UnsupportedOperationError, match="plain chain"):
        dv.disentangle(chain(nn.GroupNorm(2, 4)), "dlgn-sf")


def test_what_is_affine_of_a_dlgn():
    with pytest.warns(dv.DualviewWarning, match="of layers 1 are not affine"):
        dv.disentangle(chain(nn.GroupNorm(2, 4)), "dlgn", seed=0)
    with pytest.raises(UnsupportedOperationError, match="no layer's would be"):
        dv.disentangle(nn.Sequential(nn.GroupNorm(1, 3), chain()), "dlgn")


def test_dropout_is_warned_of():
    with pytest.warns(dv.DualviewWarning, match="dropout '2'"):
        dv.disentangle(chain(nn.Dropout(0.5)).train(), "dnn")
    dv.disentangle(chain(nn.Dropout(0.5)).eval(), "dnn")
    dv.disentangle(chain(nn.Dropout(0.0)).train(), "dnn")


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.norm = nn.Linear(3, 3), nn.BatchNorm1d(3)

    def forward(self, x):
        return self.norm(torch.relu(self.norm(self.one(x))))


def test_one_batch_norm_on_both_sides():
    with pytest.raises(ConversionError, match="batch norm 'norm' runs both before and after"):
        dv.disentangle(Twice(), "dnn")
