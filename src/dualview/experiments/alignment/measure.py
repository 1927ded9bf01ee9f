"""The alignment experiment's network, and what is measured on it while it trains.

Source: arXiv 2006.10529 (weights of +-sqrt(2 / width), NPK at hard gates).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dualview.architectures import Shape, fc
from dualview.conversion.disentangling import disentangle
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import SoftGate
from dualview.experiments.alignment.label_alignment import label_alignment
from dualview.experiments.networks import drawn_apart
from dualview.path_kernel.kernel import npk

DEPTH = 6
"""Weight layers."""


def build_network(
    kind: str, seed: int, input_shape: Shape, *, width: int, beta: float
) -> nn.Module:
    """The untrained network: fully connected, no biases, one output, weights +-sqrt(2 / width).

    With one seed, the gating network of a DGN or DLGN has the DNN's weights (but for the last
    layer, which it lacks).
    """
    draw = partial(draw_signs, width=width)

    def model() -> nn.Module:
        plain = fc(1, input_shape, width, depth=DEPTH, bias=False)
        draw(plain)
        return plain

    example = torch.zeros(1, *input_shape)
    return drawn_apart(model, kind, seed, SoftGate(beta), example, initialise=draw)


def draw_signs(network: nn.Module, width: int) -> None:
    """Set each weight to +-sqrt(2 / width), with signs from PyTorch's random state."""
    scale = math.sqrt(2 / width)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randint(2, weight.shape).mul_(2).sub_(1) * scale)


def hard_npk(net: nn.Module, x: Tensor) -> Tensor:
    """NPK at hard gates in float64, (n, n), of a plain network or of a gated one; `net` is kept."""
    copied = copy.deepcopy(net).cpu().double().eval()
    gated = copied if isinstance(copied, GatedNetwork) else disentangle(copied, kind="dnn")
    return npk(gated, x.double().cpu(), gates="hard")


def alignment_measure(
    images: Tensor, labels: Tensor, *, every: int, epochs: int
) -> Callable[[nn.Module, int], dict[str, Any] | None]:
    """What `training.train` calls after each epoch: the alignment every so many, and at the end.

    Args:
        images: (n, c, h, w), float64.
        labels: (n,), 0 or 1; they count as -1 and +1.
        every: epochs between measurements.
        epochs: of the whole run.
    """
    signs = (2 * labels - 1).numpy()

    def measure(net: nn.Module, epochs_done: int) -> dict[str, Any] | None:
        if epochs_done % every and epochs_done != epochs:
            return None
        kernel = hard_npk(net, images).numpy()
        return {"epoch": epochs_done, **asdict(label_alignment(kernel, signs))}

    return measure
