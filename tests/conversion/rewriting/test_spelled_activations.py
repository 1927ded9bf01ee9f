"""Activations spelt by hand.

- `q * g(q)` with an elementwise g is one gate: the dual form equals the model in float64, a DLGN's
  gating network does without it, and constants that multiply the whole go into the gate.
- A product with a function of something else is none.
"""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.conversion.activations import SpelledGate
from tests.conversion.test_secant_gates import Activated

SPELT = {
    "quick GELU": lambda x: x * torch.sigmoid(1.702 * x),
    "SiLU": lambda x: x.mul(x.sigmoid()),
    "hardswish": lambda x: x * F.relu6(x + 3) / 6,
    "GELU": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "GELU, tanh": lambda x: (
        0.5 * x * (1.0 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))
    ),
    "Mish": lambda x: x * torch.tanh(F.softplus(x)),
    "square": lambda x: x * x,
    "softsign": lambda x: x / (1 + abs(x)),
    "half, doubled": lambda x: 2 * (torch.sigmoid(x) * (x * 0.5)),
}


@pytest.mark.parametrize("name", SPELT)
def test_one_gate(name):
    torch.manual_seed(0)
    model = Activated(SPELT[name]).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    net = dv.disentangle(model, "dnn")
    assert [type(gate) for gate in net.gate_functions] == [SpelledGate] * 2
    assert len(net.gates_and_switches(x)[1]) == 0
    torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-12)
    gating = dv.disentangle(model, "dlgn", seed=0).gating_network
    assert [node.op for node in gating.graph.nodes] == [
        "placeholder",
        "call_module",
        "call_module",
        "output",
    ]


def test_of_something_else():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.c(torch.relu(self.a(x) * torch.sigmoid(self.b(x))))

    model, x = Two().double(), torch.randn(6, 3, dtype=torch.float64)
    net = dv.disentangle(model, "dnn")
    assert net.n_gates == 1
    assert len(net.gates_and_switches(x)[1]) == 1
    torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-12)
