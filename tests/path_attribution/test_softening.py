"""Softened gates, against their definition.

- Contributions are those of the sum over all listed paths in which each gate is sigmoid(beta * q),
  q those of the network itself with its hard gates.
- A steep gate is the step; a leaky gate keeps its slope; sigmoid gates get the new steepness.
- Gates that are smooth as they are are refused, and so is a steepness that is none.
- The network that was given stays as it is.
"""

import math

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.conversion.gates import SoftGate
from dualview.errors import PathKernelError
from dualview.path_attribution.softening import softened

BETA = 0.7


def three_layers(activation=nn.ReLU):
    torch.manual_seed(3)
    layers = nn.Linear(4, 5), activation(), nn.Linear(5, 6), activation(), nn.Linear(6, 3)
    return nn.Sequential(*layers).double()


def sum_over_paths(model, x, output, gate):
    """Input coordinate -> the sum over its paths, each gate `gate(q)`; q by the model's own run."""
    first, _, second, _, last = model
    q1 = first(x)
    q2 = second(model[1](q1))
    found = []
    for i in range(4):
        terms = [
            x[0, i]
            * first.weight[j, i]
            * gate(q1[0, j])
            * second.weight[k, j]
            * gate(q2[0, k])
            * last.weight[output, k]
            for j in range(5)
            for k in range(6)
        ]
        found.append(float(sum(terms)))
    return found


def sigmoid(q):
    return 1 / (1 + torch.exp(-BETA * q))


@pytest.mark.parametrize(
    ("activation", "gate"),
    [
        (nn.ReLU, sigmoid),
        (lambda: nn.LeakyReLU(0.2), lambda q: 0.2 + 0.8 * sigmoid(q)),
        (lambda: nn.PReLU(init=0.25), lambda q: 0.25 + 0.75 * sigmoid(q)),
    ],
)
@torch.no_grad()
def test_the_sum_over_paths(activation, gate):
    model, x = three_layers(activation), torch.randn(1, 4).double()
    net = dv.disentangle(model, "dnn")
    found = dv.input_contributions(net, x, 2, soften=BETA)
    assert found.coordinates == pytest.approx(sum_over_paths(model, x, 2, gate), abs=1e-12)
    assert math.fsum([found.from_input, found.from_biases]) == pytest.approx(found.total, abs=1e-12)
    other = sum_over_paths(model, x, 0, gate)
    difference = dv.input_contributions(net, x, 2, against=0, soften=BETA)
    assert difference.coordinates == pytest.approx(found.coordinates - other, abs=1e-12)


def test_a_steep_gate_is_the_step():
    net, x = dv.disentangle(three_layers(), "dgn", gate="hard", seed=0), torch.randn(1, 4).double()
    steep, own = dv.input_contributions(net, x, 1, soften=1e9), dv.input_contributions(net, x, 1)
    assert steep.coordinates == pytest.approx(own.coordinates, abs=1e-12)


def test_sigmoid_gates_get_another_steepness():
    net = dv.disentangle(three_layers(), "dlgn", seed=0)
    before = [gate.beta for gate in net.gate_functions]
    found = softened(net, BETA)
    assert [type(gate) for gate in found.gate_functions] == [SoftGate] * 2
    assert [gate.beta for gate in found.gate_functions] == [BETA] * 2
    assert found.weights_network is net.weights_network
    assert [gate.beta for gate in net.gate_functions] == before


def test_smooth_gates_are_refused():
    net = dv.disentangle(three_layers(nn.GELU), "dnn")
    with pytest.raises(PathKernelError, match=r"soften: expected gates that are steps.*layer 0"):
        dv.input_contributions(net, torch.ones(1, 4).double(), 0, soften=1.0)


@pytest.mark.parametrize("beta", [0, -1.0, math.nan, "steep"])
def test_a_steepness_is_a_number_above_0(beta):
    net = dv.disentangle(three_layers(), "dnn")
    with pytest.raises(PathKernelError, match="soften: expected a finite number above 0"):
        dv.input_contributions(net, torch.ones(1, 4).double(), 0, soften=beta)
