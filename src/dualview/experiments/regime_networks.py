"""The networks of the five regimes, and gates that stay as they are.

With one seed, the gates of FRNPF come from the very parameters that the ReLU network starts from;
so do the weights of FRNPF(DI), while all other weights networks start from a second, independent
draw, the same for all regimes.

Source: arXiv 2006.10529, sections 3 and 5.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from dualview.errors import RunError, SavedNetworkError
from dualview.experiments.regime_tables import REGIME_NAMES
from dualview.gated_network import GatedNetwork, disentangle
from dualview.gates import HardGate, SoftGate
from dualview.training import choose
from dualview.training.parameters import load_parameters

BETA, EPS = 4.0, 0.1
"""Of the scaled soft gate (1 + eps) sigmoid(beta q) of decoupled learning."""

Draw = Callable[[], nn.Module]
"""Draws the architecture's parameters from PyTorch's random state."""


class FrozenGates(GatedNetwork):
    """A gated network whose gating network never changes: only the weights network is trained.

    The gating network's parameters want no gradients, and it stays in evaluation mode, so that
    batch norm keeps its statistics.

    Args:
        net: taken apart with a kind that has two networks; its modules are used, not copied.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> net = FrozenGates(disentangle(model, "dgn", gate="hard", seed=0)).train()
    >>> [name for name, p in net.named_parameters() if not p.requires_grad]
    ['gating_network.0.weight', 'gating_network.0.bias']
    """

    def __init__(self, net: GatedNetwork) -> None:
        super().__init__(
            net.gating_network,
            net.weights_network,
            list(net.gate_functions),
            net.kind,
            net.weights_input,
            net.gate_order,
            input_transform=net.input_transform,
        )
        self.gating_network.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> FrozenGates:
        """Set the weights network's mode."""
        super().train(mode)
        self.gating_network.eval()
        return self


def regime_network(
    regime: str,
    draw: Draw,
    seed: int,
    *,
    example_input: Tensor | None = None,
    trained: Path | None = None,
) -> nn.Module:
    """The untrained network of a regime; the same seed draws the same one.

    Args:
        regime: a name in `REGIME_NAMES`.
        draw: makes the architecture.
        seed: of the draws.
        example_input: as for `disentangle`.
        trained: `model.safetensors` of the trained ReLU network of the same seed; "flnpf" only.

    Raises:
        SettingsError: unknown regime.
        RunError: the trained network cannot be read.
        ConversionError: the architecture cannot be taken apart.
    """
    choose("kinds", regime, REGIME_NAMES)
    model = drawn(draw, seed)
    if regime == "relu":
        return model
    if regime == "flnpf":
        assert trained is not None
        load_trained(model, trained)
    if regime == "dlnpf":
        gate = SoftGate(BETA, EPS)
        return disentangle(
            model.eval(), "dgn", gate=gate, example_input=example_input, seed=seed
        ).train()
    net = frozen_gates(model, seed, example_input)
    if regime == "frnpf-di":
        net.weights_network.load_state_dict(model.state_dict())
    return net


def drawn(draw: Draw, seed: int) -> nn.Module:
    """The architecture as `seed` draws it, whatever else is random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return draw()


def frozen_gates(model: nn.Module, seed: int, example_input: Tensor | None = None) -> FrozenGates:
    """Hard gates of `model`, which do not change any more, and weights drawn afresh by `seed`."""
    net = disentangle(model.eval(), "dgn", gate=HardGate(), example_input=example_input, seed=seed)
    return FrozenGates(net).train()


def load_trained(model: nn.Module, path: Path) -> None:
    """Put the parameters of a finished run into `model`.

    Raises:
        RunError: there are none, or they are another network's.
    """
    try:
        load_parameters(model, path)
    except SavedNetworkError as error:
        raise RunError(
            f"expected the parameters of the trained ReLU network: {error}. Or delete that run's "
            "folder, and it is trained again"
        ) from error
