"""A trained network as the teacher of one that is taken apart: its logits, and its gates."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import SoftGate
from dualview.training.distil_settings import DistilSettings
from dualview.training.identity import network_identity


class Teacher:
    """What training asks of a teacher; it remembers nothing, so that runs can be resumed.

    Args:
        model: in its own dual form ("dnn"), without an input transform: it is called on what the
            learning network is called on, behind that network's transform. It is put into
            evaluation mode, and is never trained.
        settings: what is learnt from it.
        beta: slope of the learning network's soft gates at the start.
    """

    def __init__(self, model: GatedNetwork, settings: DistilSettings, beta: float) -> None:
        self.model = model.eval().requires_grad_(requires_grad=False)
        self.settings = settings
        self.beta = beta

    @property
    def identity(self) -> dict[str, Any]:
        """What the numbers of a run depend on, as its checkpoint keeps it."""
        return {
            "teacher": network_identity(self.model),
            "first_beta": self.beta,
            **asdict(self.settings),
        }

    def set_gates(self, net: nn.Module, epoch: int, epochs: int) -> None:
        """Give the soft gates of `net` the slope of an epoch.

        Args:
            net: what is trained.
            epoch: from 0.
            epochs: of the run.
        """
        for module in net.modules():
            if isinstance(module, SoftGate):
                module.beta = slope(self.beta, self.settings.final_beta, epoch, epochs)

    def fits_gates(self, epoch: int, epochs: int) -> bool:
        """Whether the gates are fitted in an epoch, from 0."""
        return epoch < round(self.settings.fitting * epochs)

    def loss(
        self, net: nn.Module, images: Tensor, logits: Tensor, of_labels: Tensor, *, fitting: bool
    ) -> Tensor:
        """What training makes small: labels and teacher, each with its share, and gates.

        Args:
            net: the learning network behind its input transform.
            images: (b, ...), as `net` is called on them.
            logits: (b, k), of `net`.
            of_labels: the loss of the labels.
            fitting: whether the gates are fitted in this epoch.
        """
        with torch.no_grad():
            taught = self.model(images)
            wanted = self.model.preactivations(images) if fitting else ()
        share = self.settings.share
        total = share * distance(logits, taught, self.settings.temperature)
        total = total + (1 - share) * of_labels
        if fitting:
            assert isinstance(net, GatedNetwork)
            total = total + gate_loss(net.preactivations(images), wanted, self.beta)
        return total


def slope(first: float, final: float | None, epoch: int, epochs: int) -> float:
    """The slope of soft gates in an epoch: it grows by the same factor from each to the next.

    >>> [slope(4, 400, epoch, 3) for epoch in range(3)], slope(4, None, 2, 3), slope(4, 400, 0, 1)
    ([4.0, 40.0, 400.0], 4, 400.0)
    """
    if final is None:
        return first
    share = 1.0 if epochs == 1 else epoch / (epochs - 1)
    return float(first * (final / first) ** share)


def distance(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """temperature^2 times the Kullback-Leibler divergence of the learner from its teacher.

    Args:
        logits: (b, k), of the learner.
        taught: (b, k), of the teacher.
        temperature: both are divided by it first.

    Source: arXiv 1503.02531, section 2.

    >>> float(distance(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]), 2.0))
    0.0
    """
    learnt, wanted = (F.log_softmax(v.float() / temperature, 1) for v in (logits, taught))
    return temperature**2 * F.kl_div(learnt, wanted, reduction="batchmean", log_target=True)


def gate_loss(own: tuple[Tensor, ...], wanted: tuple[Tensor, ...], beta: float) -> Tensor:
    """Cross-entropy of gates sigmoid(beta q) to a teacher's hard ones, summed over the layers.

    Args:
        own: pre-activations q of each layer, (b, ...).
        wanted: the teacher's, of the same shapes.
        beta: slope of the gates.

    >>> q = torch.tensor([[0.0, 0.0]])
    >>> round(float(gate_loss((q, q), (q + 1, q - 1), 4.0)), 4)  # 2 log 2
    1.3863
    """
    losses = [
        F.binary_cross_entropy_with_logits(beta * q.float(), (t > 0).float())
        for q, t in zip(own, wanted, strict=True)
    ]
    return torch.stack(losses).sum()
