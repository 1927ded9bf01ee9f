"""Secant gates.

- a(q) = a(0) + q G(q) to rounding, at 0, close to 0, at corners and far away, for every activation.
- G(0) is the activation's derivative at 0 where it has one.
- Gradients through a gate are finite everywhere.
- Options without a gate are refused: a jump at 0, a power below 1, bounds that are tensors.
- Every activation, in every spelling, converts: the dual form equals the model.
"""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.conversion.activations import (
    GATE_OF_FUNCTION,
    GATE_OF_METHOD,
    GATE_OF_MODULE,
    SelfGated,
)
from dualview.conversion.secant_gates import FUNCTION_NAMES, FunctionGate, PowerGate, ThresholdGate

MODULES = {
    **{kind.__name__: kind for kind in GATE_OF_MODULE if kind not in (SelfGated, nn.Threshold)},
    "ELU(0.3)": lambda: nn.ELU(0.3),
    "CELU(2.5)": lambda: nn.CELU(2.5),
    "Softplus(2, 5)": lambda: nn.Softplus(2.0, 5.0),
    "Hardtanh(-0.2, 3)": lambda: nn.Hardtanh(-0.2, 3.0),
    "Hardtanh(1, 2)": lambda: nn.Hardtanh(1.0, 2.0),
    "Hardtanh(0, 6)": lambda: nn.Hardtanh(0.0, 6.0),
    "Hardshrink(0)": lambda: nn.Hardshrink(0.0),
    "Threshold(0, 0)": lambda: nn.Threshold(0.0, 0.0),
    "Threshold(-0.3, 0.2)": lambda: nn.Threshold(-0.3, 0.2),
    "Threshold(0.3, 0.2)": lambda: nn.Threshold(0.3, 0.2),
}
FUNCTIONS = {
    "clamp(-1, 2)": lambda q: torch.clamp(q, -1, 2),
    "clamp(min=0)": lambda q: q.clamp(min=0),
    "clamp_max(0.5)": lambda q: torch.clamp_max(q, 0.5),
    "clip(0, 6)": lambda q: q.clip(0, 6),
    "pow(3)": lambda q: torch.pow(q, 3),
    "q ** 2": lambda q: q**2,
    "F.softplus(beta=3)": lambda q: F.softplus(q, beta=3),
    "F.elu(alpha=0.5)": lambda q: F.elu(q, alpha=0.5),
    "F.threshold": lambda q: F.threshold(q, -0.1, 1.0),
    "abs()": abs,
    **{f"torch.{name}": getattr(torch, name) for name in FUNCTION_NAMES},
    **{f"q.{name}()": lambda q, name=name: getattr(q, name)() for name in ("tanh", "sigmoid")},
}


def points():
    tiny = [0.0, 5e-324, 1e-300, 1e-16, 1e-12, 1e-8, 1e-5, 1e-3]
    plain = [0.0999, 0.2, 0.3, 0.5, 0.99, 1, 1.01, 2, 2.5, 3, 5.99, 6, 6.01, 10, 19.99, 20.01]
    far = [50.0, 300.0, 700.0]
    values = torch.tensor([*tiny, *plain, *far], dtype=torch.float64)
    return torch.cat([values, -values])


def assert_to_rounding(got, expected, q):
    scale = expected.abs() + q.abs()
    assert bool(((got - expected).abs() <= 4e-16 * scale + 1e-323).all())


@pytest.mark.parametrize("name", MODULES)
def test_bias_and_gate_are_the_activation(name):
    module, q = MODULES[name]().double(), points()
    gate = GATE_OF_MODULE[type(module)](module)
    assert_to_rounding(gate.at_zero + q * gate(q), module(q.clone()), q)


@pytest.mark.parametrize("name", FUNCTION_NAMES)
def test_functions_of_a_number(name):
    q = points().clamp(-0.9, 1.5) if name in ("log1p", "tan") else points().clamp(-20, 20)
    gate = FunctionGate(name)
    assert_to_rounding(gate.at_zero + q * gate(q), getattr(torch, name)(q), q)


@pytest.mark.parametrize("name", MODULES)
def test_slope_at_zero(name):
    module = MODULES[name]().double()
    gate = GATE_OF_MODULE[type(module)](module)
    zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(module(zero).sum(), zero)
    # PyTorch's derivative of hardsigmoid in float64 is 1/6 rounded to float32.
    torch.testing.assert_close(gate(zero.detach()), slope, rtol=1e-7, atol=0)


@pytest.mark.parametrize("name", [*MODULES, *FUNCTION_NAMES])
def test_derivatives(name):
    """Those in float32 have the digits of those in float64, however close to 0."""
    if name in MODULES:
        module = MODULES[name]()
        gate = GATE_OF_MODULE[type(module)](module)
    else:
        gate = FunctionGate(name)
    q = torch.logspace(-30, 0, 200, dtype=torch.float32)
    q = torch.cat([q, -q * 0.9]).requires_grad_()
    got = _derivative(gate, q)
    expected = _derivative(gate.double(), q.detach().double().requires_grad_())
    torch.testing.assert_close(got.double(), expected, rtol=1e-3, atol=2e-5)
    assert bool(torch.isfinite(expected).all())


def _derivative(gate, q):
    values = gate(q)
    if not values.requires_grad:
        return torch.zeros_like(q)
    (derivative,) = torch.autograd.grad(values.sum(), q, allow_unused=True)
    return torch.zeros_like(q) if derivative is None else derivative


def test_without_a_gate():
    with pytest.raises(ValueError, match="jumps at 0"):
        ThresholdGate(0.0, 1.0)
    for exponent in (0.5, -1, math.nan, torch.tensor(2.0)):
        with pytest.raises(ValueError, match="no number from 1 on"):
            PowerGate(exponent)


class Activated(nn.Module):
    """dense, activation, dense, activation, dense."""

    def __init__(self, activation):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 5), nn.Linear(5, 4), nn.Linear(4, 2)
        self.activation = activation

    def forward(self, x):
        return self.c(self.activation(self.b(self.activation(self.a(x)))))


@pytest.mark.parametrize("name", [*MODULES, *FUNCTIONS])
def test_dual_form(name):
    torch.manual_seed(0)
    model = Activated(MODULES[name]() if name in MODULES else FUNCTIONS[name]).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    net = dv.disentangle(model, "dnn")
    assert net.n_gates == 2
    torch.testing.assert_close(net(x), model(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["Tanh", "Softplus", "torch.square"])
def test_dlgn_has_affine_pre_activations(name):
    model = Activated(MODULES[name]() if name in MODULES else FUNCTIONS[name]).double()
    net = dv.disentangle(model, "dlgn", seed=0)
    x, y = torch.randn(2, 1, 3, dtype=torch.float64)
    for at_x, at_y, between in zip(*map(net.preactivations, (x, y, (x + y) / 2)), strict=True):
        torch.testing.assert_close((at_x + at_y) / 2, between)


def test_every_activation_is_here():
    """A new entry of the tables is tried above."""
    tried = {type(make()) for make in MODULES.values()}
    assert tried | {SelfGated} == set(GATE_OF_MODULE)
    names = {getattr(f, "__name__", "") for f in GATE_OF_FUNCTION} | set(GATE_OF_METHOD)
    assert set(FUNCTION_NAMES) <= names
