"""The tables of activations.

1. Every function and method of the tables is its value at 0 plus q times its gate, in float64.
2. Every module of the tables with a function of the same name has the same gate.
3. Options under which there is no gate raise with a reason.
"""

import math
import operator

import pytest
import torch
from torch import fx, nn

from dualview.conversion.activations import (
    GATE_OF_FUNCTION,
    GATE_OF_METHOD,
    GATE_OF_MODULE,
    is_activation,
)

Q = torch.tensor([-7.0, -1.5, -0.3, 0.2, 0.8, 1.7, 6.5], dtype=torch.float64)
ARGUMENTS = {
    "prelu": (torch.tensor([0.3], dtype=torch.float64),),
    "threshold": (0.5, 0.1),
    "clamp": (-0.5, 2.0),
    "clip": (-0.5, 2.0),
    "clamp_min": (-0.2,),
    "clamp_max": (1.2,),
    "pow": (3,),
}


def name_of(function):
    return getattr(function, "__name__", str(function)).strip("_")


def rebuilt(gate):
    return gate.at_zero + Q * gate(Q)


def check(found, expected):  # log1p has no value below -1
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("function", GATE_OF_FUNCTION, ids=name_of)
def test_functions(function):
    arguments = ARGUMENTS.get(name_of(function), ())
    gate = GATE_OF_FUNCTION[function](*arguments).double()
    check(rebuilt(gate), function(Q, *arguments))


@pytest.mark.parametrize("name", GATE_OF_METHOD)
def test_methods(name):
    arguments = ARGUMENTS.get(name, ())
    gate = GATE_OF_METHOD[name](*arguments).double()
    check(rebuilt(gate), getattr(Q, name)(*arguments))


WITH = {nn.Threshold: (0.5, 0.1), nn.PReLU: (1, 0.3)}
BY_THEMSELVES = [kind for kind in GATE_OF_MODULE if kind.__module__.startswith("torch.nn")]


@pytest.mark.parametrize("kind", BY_THEMSELVES, ids=lambda kind: kind.__name__)
def test_modules(kind):
    module = kind(*WITH.get(kind, ())).double()
    gate = GATE_OF_MODULE[kind](module).double()
    check(rebuilt(gate), module.eval()(Q))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (torch.clamp, (2.0, 1.0)),
        (torch.clamp, (torch.zeros(1), None)),
        (torch.pow, (0.5,)),
        (torch.pow, (-1,)),
    ],
)
def test_no_gate(function, arguments):
    with pytest.raises(ValueError, match=r"\w"):
        GATE_OF_FUNCTION[function](*arguments)


def test_bounds_of_relu_are_relu():
    clamp = GATE_OF_FUNCTION[torch.clamp]
    relu = type(GATE_OF_FUNCTION[torch.relu]())
    assert type(clamp(0)) is type(clamp(0.0, math.inf)) is relu
    assert type(clamp(0, 6)) is type(GATE_OF_FUNCTION[nn.functional.relu6]())


class Three(nn.Module):
    def __init__(self):
        super().__init__()
        self.act, self.fc = nn.ReLU(), nn.Linear(2, 2)

    def forward(self, x):
        return operator.abs(torch.tanh(self.fc(self.act(x))).sigmoid()) + 1


def test_nodes():
    graph = fx.symbolic_trace(Three()).graph
    assert [node.name for node in graph.nodes if is_activation(node)] == [
        "act",
        "tanh",
        "sigmoid",
        "abs_1",
    ]
