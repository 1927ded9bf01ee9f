"""Properties, for every regime's network, in float64 where numbers are compared:
- the same seed draws the same network, whatever else is random;
- a frozen gating network is not changed by training, batch norm's statistics included, while the
  weights network is; its gradients are never computed;
- gates of FRNPF(II) and (DI) are those of the ReLU network's initialisation; the weights of (DI)
  start there too, those of (II) elsewhere; gates of FLNPF are those of the trained network;
- DLNPF has the scaled soft gate and trains both networks;
- an unknown regime is refused.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dualview.architectures import build
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.parameters import save_parameters
from dualview.experiments.npk_paper import FrozenGates, drawn, frozen_gates, load_trained
from dualview.experiments.regimes.networks import regime_network
from dualview.experiments.regimes.tables import REGIME_NAMES
from dualview.training import SettingsError

FROZEN = ("frnpf-ii", "frnpf-di", "flnpf")
SHAPE = (2, 6, 6)
X = torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(1)).double()


def draw_of(arch: str, batch_norm: bool | None = None) -> nn.Module:
    return build(arch, num_classes=3, input_shape=SHAPE, width=4, batch_norm=batch_norm).double()


@pytest.fixture(params=["fc", "vconv", "gconv"])
def arch(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def trained(arch: str, tmp_path: Path) -> Path:
    """A "trained" ReLU network: another draw."""
    path = tmp_path / "model.safetensors"
    save_parameters(drawn(lambda: draw_of(arch), 99), path)
    return path


def network(regime: str, arch: str, trained: Path, seed: int = 0) -> nn.Module:
    return regime_network(regime, lambda: draw_of(arch), seed, trained=trained)


def relu_gates(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Where the pre-activations of a Sequential are positive, layer by layer."""
    gates = []
    for module in model.children():
        if isinstance(module, nn.ReLU):
            gates.append((x > 0).double())
        x = module(x)
    return gates


def steps(net: nn.Module, count: int = 3) -> None:
    net.train()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.05)
    labels = torch.arange(len(X)) % 3
    for _ in range(count):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(X), labels).backward()
        optimiser.step()


@pytest.mark.parametrize("regime", REGIME_NAMES)
def test_a_seed_draws_one_network(regime: str, arch: str, trained: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = network(regime, arch, trained).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again = network(regime, arch, trained).state_dict()
    other = network(regime, arch, trained, seed=1).state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("regime", FROZEN)
def test_frozen_gates_do_not_change(regime: str, arch: str, trained: Path) -> None:
    net = network(regime, arch, trained)
    assert isinstance(net, FrozenGates)
    gating = copy.deepcopy(net.gating_network.state_dict())
    weights = copy.deepcopy(net.weights_network.state_dict())
    gates = net.gates(X)
    steps(net)
    assert all(torch.equal(gating[n], v) for n, v in net.gating_network.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(gates, net.gates(X), strict=True))
    assert not any(torch.equal(weights[n], v) for n, v in net.weights_network.state_dict().items())
    assert all(p.grad is None for p in net.gating_network.parameters())


def test_frozen_batch_norm_keeps_its_statistics() -> None:
    model = drawn(lambda: draw_of("gconv", batch_norm=True), 0)
    steps(model)  # statistics of its own
    net = frozen_gates(model, 0)
    before = copy.deepcopy(net.gating_network.state_dict())
    gates = net.eval().gates(X)
    steps(net)
    assert net.training
    assert net.weights_network.training
    assert not any(module.training for module in net.gating_network.modules())
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(before[n], v) for n, v in net.gating_network.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(gates, net.gates(X), strict=True))


@pytest.mark.parametrize("regime", FROZEN)
def test_whose_gates(regime: str, arch: str, trained: Path) -> None:
    net = network(regime, arch, trained)
    model = drawn(lambda: draw_of(arch), 0)
    start = network("relu", arch, trained)
    assert all(torch.equal(v, start.state_dict()[n]) for n, v in model.state_dict().items())
    if regime == "flnpf":
        load_trained(model, trained)
    assert isinstance(net, GatedNetwork)
    for mine, theirs in zip(net.gates(X), relu_gates(model, X), strict=True):
        assert torch.equal(mine, theirs)


def test_independent_and_dependent_weights(arch: str, trained: Path) -> None:
    start = network("relu", arch, trained)
    dependent = network("frnpf-di", arch, trained)
    independent = network("frnpf-ii", arch, trained)
    learnt = network("flnpf", arch, trained)
    assert isinstance(dependent, GatedNetwork)
    assert isinstance(independent, GatedNetwork)
    assert isinstance(learnt, GatedNetwork)
    # With its own gates and its own weights the network is the ReLU network.
    torch.testing.assert_close(dependent(X), start(X), rtol=1e-12, atol=1e-14)
    assert not torch.allclose(independent(X), start(X), rtol=1e-2)
    for name, value in independent.weights_network.state_dict().items():
        assert torch.equal(value, learnt.weights_network.state_dict()[name])
        if name.endswith("weight"):
            assert not torch.equal(value, start.state_dict()[name])
    # Gates of independent weights' own would be others.
    model = copy.deepcopy(start)
    model.load_state_dict(independent.weights_network.state_dict())
    own = torch.cat([gates.flatten() for gates in relu_gates(model, X)])
    given = torch.cat([gates.flatten() for gates in independent.gates(X)])
    assert not torch.equal(own, given)


def test_decoupled_learning(arch: str, trained: Path) -> None:
    net = network("dlnpf", arch, trained)
    assert isinstance(net, GatedNetwork)
    for q, gate in zip(net.preactivations(X), net.gates(X), strict=True):
        torch.testing.assert_close(gate, 1.1 / (1 + torch.exp(-4 * q)), rtol=1e-12, atol=0)
    before = copy.deepcopy(net.state_dict())
    steps(net)
    assert not any(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_unknown_regime_is_refused() -> None:
    with pytest.raises(SettingsError, match="did you mean 'flnpf'"):
        regime_network("flnp", lambda: draw_of("fc"), 0)
