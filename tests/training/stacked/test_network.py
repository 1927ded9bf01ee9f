"""Properties:
- a stack of any kind gives each network's own outputs, and its parameters are theirs;
- stacking copies: the networks stay as they are while the stack changes;
- gates as bytes are the gates;
- networks that cannot be stacked are refused: convolutions, other activations, soft frozen gates,
  no biases, unequal shapes, linear gating networks.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.architectures import fc, gconv
from dualview.conversion.gates import SoftGate
from dualview.experiments.npk_paper import FrozenGates, frozen_gates
from dualview.training import SettingsError
from dualview.training.stacked.network import FrozenGatesStack, gate_bytes, stack
from tests.training.stacked.test_run import KINDS

FEATURES = 16


def inputs(s: int) -> torch.Tensor:
    return torch.rand(s, 5, FEATURES, generator=torch.Generator().manual_seed(3)).double()


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_the_networks_own(kind: str) -> None:
    nets = [KINDS[kind](seed).double() for seed in range(3)]
    together, x = stack(nets, FEATURES), inputs(3)
    gates = None
    if isinstance(together, FrozenGatesStack):
        gates = torch.stack([gate_bytes(net, x[i]) for i, net in enumerate(nets)])
    own = torch.stack([net(x[i]) for i, net in enumerate(nets)])
    torch.testing.assert_close(together(x, gates), own, rtol=1e-12, atol=1e-14)
    trained = sum(p.numel() for net in nets for p in net.parameters() if p.requires_grad)
    assert sum(p.numel() for p in together.parameters()) == trained


def test_stacking_copies() -> None:
    net = KINDS["plain"](0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    together = stack([net], FEATURES)
    with torch.no_grad():
        for parameter in together.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_gate_bytes_are_the_gates() -> None:
    net = KINDS["frozen"](0).double()
    x = inputs(1)[0]
    together = torch.cat(net.gates(x), dim=1)
    assert gate_bytes(net, x).dtype == torch.uint8
    assert torch.equal(gate_bytes(net, x).double(), together)


def soft_and_frozen() -> nn.Module:
    return FrozenGates(dv.disentangle(fc(3, (1, 4, 4), width=6), "dgn", gate=SoftGate(), seed=0))


REFUSED: dict[str, Callable[[], list[nn.Module]]] = {
    "convolutions": lambda: [gconv(3, (1, 4, 4), width=2)],
    "activation": lambda: [
        nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Tanh(), nn.Linear(4, 3))
    ],
    "soft frozen gates": lambda: [soft_and_frozen()],
    "no biases": lambda: [fc(3, (1, 4, 4), width=6, bias=False)],
    "shapes": lambda: [fc(3, (1, 4, 4), width=width) for width in (4, 6)],
    "depths": lambda: [fc(3, (1, 4, 4), width=6, depth=depth) for depth in (3, 4)],
    "linear gates": lambda: [dv.disentangle(fc(3, (1, 4, 4), width=6), "dlgn", seed=0)],
    "mixed kinds": lambda: [
        fc(3, (1, 4, 4), width=6),
        frozen_gates(fc(3, (1, 4, 4), width=6), 0),
    ],
    "other features": lambda: [fc(3, (1, 5, 5), width=6)],
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_networks_are_refused(case: str) -> None:
    with pytest.raises(SettingsError, match="trained in one pass: expected fully connected"):
        stack(REFUSED[case](), FEATURES)
