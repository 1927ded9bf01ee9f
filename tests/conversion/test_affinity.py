"""Which pre-activations are affine in the input, against differences of the network itself.

In a DLGN all are; behind a multiplier none, and before it all; in a DGN the first alone.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.conversion.affinity import affine_layers

pytestmark = pytest.mark.filterwarnings("ignore::dualview.DualviewWarning")


def network(normalised):
    return nn.Sequential(
        nn.Linear(3, 4), nn.ReLU(), nn.GroupNorm(2, 4) if normalised else nn.Identity(),
        nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2),
    )  # fmt: skip


def is_affine(net, layer):
    x, y = torch.randn(2, 5, 3, dtype=torch.float64)
    a, b, c = (net.preactivations(z)[layer] for z in (x, y, (x + y) / 2))
    return torch.allclose((a + b) / 2, c, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "normalised", "expected"),
    [
        ("dlgn", False, (True, True)),
        ("dlgn", True, (True, False)),
        ("dgn", False, (True, False)),
    ],
)
def test_affine_layers(kind, normalised, expected):
    torch.manual_seed(0)
    net = dv.disentangle(network(normalised), kind, seed=0).double().eval()
    assert affine_layers(net.gating_network, net.n_gates) == expected
    assert tuple(is_affine(net, layer) for layer in range(2)) == expected
