"""ReLUs spelt by a choice.

- Each is one gate, hard or leaky: the dual form equals the model in float64, and the gate is that
  of `F.relu` or `F.leaky_relu` with the slope; kernels and paths are theirs.
- A choice between other values, by another sign or of a shape of its own stays, and is refused.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.conversion.gates import HardGate, LeakyGate
from dualview.errors import UnsupportedOperationError
from tests.conversion.test_secant_gates import Activated

RELUS = {
    "product": lambda h: h * (h > 0),
    "product, cast": lambda h: (h >= 0).to(h.dtype) * h,
    "product, torch.gt": lambda h: torch.mul(h, torch.gt(h, 0).double()),
    "where": lambda h: torch.where(h > 0, h, torch.zeros_like(h)),
    "where, number": lambda h: torch.where(h > 0, h, 0.0),
    "where, the other way round": lambda h: torch.where(h <= 0, 0.0, h),
    "where, method": lambda h: h.where(h > 0, 0.0),
    "where, by name": lambda h: torch.where(condition=h.gt(0), input=h, other=0.0),
    "maximum": lambda h: torch.maximum(h, torch.zeros_like(h)),
    "maximum, one zero": lambda h: torch.maximum(torch.zeros(1, dtype=torch.float64), h),
    "max": lambda h: torch.max(h, h.new_zeros(1)),
    "max, method": lambda h: h.max(torch.tensor(0.0, dtype=torch.float64)),
}
LEAKY = {
    "maximum": lambda h: torch.maximum(h, 0.2 * h),
    "max": lambda h: torch.max(h / 5, h),
    "where": lambda h: torch.where(h > 0, h, 0.2 * h),
    "where, negative": lambda h: torch.where(h < 0, h * 0.2, h),
}
OTHERS = {
    "minimum": lambda h: torch.minimum(h, torch.zeros_like(h)),
    "another value": lambda h: torch.where(h > 0, h, h.flip(1)),
    "another sign": lambda h: torch.where(h > 1, h, 0.0),
    "the negative part's": lambda h: torch.where(h < 0, h, 0.0),
    "of two values": lambda h: torch.maximum(h, h.flip(1)),
    "a steeper multiple": lambda h: torch.maximum(h, 2 * h),
    "a larger zero": lambda h: torch.maximum(h, torch.zeros(2, 1, 4, dtype=torch.float64))[0],
}
X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def converted(step):
    torch.manual_seed(0)
    model = Activated(step).double()
    net = dv.disentangle(model, "dnn").eval()
    torch.testing.assert_close(net(X), model(X), rtol=1e-14, atol=1e-14)
    return net


def assert_alike(net, other):
    torch.testing.assert_close(dv.npk(net, X), dv.npk(other, X), rtol=0, atol=0)
    paths, expected = (dv.top_paths(n, X[:1], 0, 5) for n in (net, other))
    assert [p.value for p in paths.paths] == [p.value for p in expected.paths]


@pytest.mark.parametrize("name", RELUS)
def test_relu(name):
    net = converted(RELUS[name])
    assert [type(gate) for gate in net.gate_functions] == [HardGate] * len(net.gate_functions)
    assert_alike(net, converted(F.relu))


@pytest.mark.parametrize("name", LEAKY)
def test_leaky_relu(name):
    net = converted(LEAKY[name])
    assert {type(gate) for gate in net.gate_functions} == {LeakyGate}
    assert_alike(net, converted(lambda h: F.leaky_relu(h, 0.2)))


@pytest.mark.parametrize("name", OTHERS)
def test_other_choices_are_refused(name):
    with pytest.raises(UnsupportedOperationError):
        dv.disentangle(Activated(OTHERS[name]).double(), "dnn")


def test_a_learnt_zero_is_none():
    class Learnt(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.zero = nn.Linear(3, 4), nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return torch.maximum(self.fc(x), self.zero)

    with pytest.raises(UnsupportedOperationError, match="maximum"):
        dv.disentangle(Learnt(), "dnn")
