"""The networks of the five regimes, and gates that stay as they are.

With one seed, the gates of FRNPF come from the very parameters that the ReLU network starts from;
so do the weights of FRNPF(DI), while all other weights networks start from a second, independent
draw, the same for all regimes.

Source: arXiv 2006.10529, sections 3 and 5.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from dualview.conversion.gates import SoftGate
from dualview.experiments.networks import drawn_apart
from dualview.experiments.npk_paper import Draw, drawn, frozen_gates, load_trained
from dualview.experiments.regimes.tables import REGIME_NAMES
from dualview.training import choose

BETA, EPS = 4.0, 0.1
"""Of the scaled soft gate (1 + eps) sigmoid(beta q) of decoupled learning."""


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
    if regime == "dlnpf":
        return drawn_apart(draw, "dgn", seed, SoftGate(BETA, EPS), example_input)
    model = drawn(draw, seed)
    if regime == "relu":
        return model
    if regime == "flnpf":
        assert trained is not None
        load_trained(model, trained)
    net = frozen_gates(model, seed, example_input)
    if regime == "frnpf-di":
        net.weights_network.load_state_dict(model.state_dict())
    return net
