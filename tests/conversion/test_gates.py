"""Gates.

- Every registered activation is its pre-activation times its gate, in float32 and float64.
- The hard gate is 0 at 0; the soft gate is the scaled sigmoid of the papers.
- Gates keep shape and dtype; wrong parameters are refused.
"""

import copy

import pytest
import torch
from torch.nn import functional as F

from dualview.conversion.activations import GATE_OF_FUNCTION, GATE_OF_MODULE
from dualview.conversion.gates import HardGate, SoftGate, apply_gate
from tests.cases import ACTIVATION_MODULES, ARGUMENTS, SPELLINGS

DTYPES = [torch.float32, torch.float64]


def pre_activations(dtype):
    special = torch.tensor([-7.0, -6, -3, -1e-8, -0.0, 0.0, 1e-8, 3, 5.999, 6, 7, 50], dtype=dtype)
    return torch.cat([special, torch.randn(500, dtype=dtype) * 4])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ACTIVATION_MODULES, ids=lambda kind: kind.__name__)
def test_module_is_pre_activation_times_gate(kind, dtype):
    module = ACTIVATION_MODULES[kind]().to(dtype)
    q = pre_activations(dtype)
    function = GATE_OF_MODULE[kind](module)
    gate = function(q)
    assert gate.shape == q.shape
    assert gate.dtype == dtype
    torch.testing.assert_close(apply_gate(q, gate) + function.at_zero, module(q.clone()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", GATE_OF_FUNCTION, ids=lambda f: f.__name__)
def test_function_is_pre_activation_times_gate(function, dtype):
    q = pre_activations(dtype)
    if function.__name__ in ("log1p", "tan"):
        q = q.clamp(-0.9, 1.0)
    slope = torch.tensor([0.3], dtype=dtype)
    given = [slope] if function in (F.prelu, torch.prelu) else ARGUMENTS.get(function, ())
    gate = GATE_OF_FUNCTION[function](*given)
    torch.testing.assert_close(q * gate(q) + gate.at_zero, function(q.clone(), *given))


def test_channelwise_prelu():
    module = torch.nn.PReLU(3)
    module.weight.data = torch.tensor([0.1, 0.2, 0.3])
    for shape in [(2, 3), (2, 3, 4), (2, 3, 4, 5)]:
        q = torch.randn(shape)
        torch.testing.assert_close(q * GATE_OF_MODULE[torch.nn.PReLU](module)(q), module(q))


def test_hard_gate_is_zero_at_zero():
    assert HardGate()(torch.tensor([0.0, -0.0])).tolist() == [0, 0]


def test_soft_gate_is_the_scaled_sigmoid():
    q = torch.linspace(-2, 2, 9, dtype=torch.float64)
    expected = 1.1 / (1 + torch.exp(-4 * q))
    torch.testing.assert_close(SoftGate(beta=4, eps=0.1)(q), expected)


@pytest.mark.parametrize(("beta", "eps"), [(0, 0), (-1, 0), (float("nan"), 0), (1, -1)])
def test_wrong_soft_gate_is_refused(beta, eps):
    with pytest.raises(ValueError, match="expected a finite number above"):
        SoftGate(beta, eps)


def test_every_spelling_runs():
    for make in SPELLINGS.values():
        activation = copy.deepcopy(make())
        assert activation(torch.randn(2, 3, 4, 4)).shape == (2, 3, 4, 4)
