"""What `disentangle` decides by itself: which gates, which pools, which gating network.

The options that a kind cannot keep are refused in `test_promises`, what comes out is proved in
`test_gated_network`.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.conversion.gates import HardGate, LeakyGate, SoftGate
from dualview.errors import ConversionError


def model():
    return nn.Sequential(
        nn.Conv2d(1, 3, 2), nn.LeakyReLU(0.2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3, 2)
    )


@pytest.mark.parametrize(
    ("kind", "gate", "expected"),
    [
        ("dnn", None, LeakyGate),
        ("dgn", None, SoftGate),
        ("dlgn", None, SoftGate),
        ("dgn", "own", LeakyGate),
        ("dlgn", "hard", HardGate),
        ("dlgn", HardGate(), HardGate),
    ],
)
def test_gate_functions(kind, gate, expected):
    net = dv.disentangle(model(), kind, gate=gate, seed=0)
    assert [type(function) for function in net.gate_functions] == [expected]


@pytest.mark.parametrize(
    ("kind", "asked", "made"),
    [
        ("dnn", None, "switch"),
        ("dgn", None, "switch"),
        ("dlgn", None, "average"),
        ("dgn", "average", "average"),
        ("dlgn", "switch", "switch"),
    ],
)
def test_max_pooling(kind, asked, made):
    net = dv.disentangle(model(), kind, max_pool=asked, seed=0)
    assert net.recipe.max_pool == made
    switches = net.gates_and_switches(torch.randn(2, 1, 3, 3))[1]
    assert len(switches) == (made == "switch")


@pytest.mark.parametrize("option", ["kind", "gate", "weights_input", "mode", "max_pool"])
def test_unknown_names(option):
    with pytest.raises(ConversionError, match=f"^{option}: expected .*got 'nothing'"):
        dv.disentangle(model(), **{option: "nothing"})
