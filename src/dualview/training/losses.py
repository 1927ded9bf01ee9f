"""Losses: what training makes small, and which class an output stands for.

Outputs are (b, k): one for each class, or, under the squared loss and with two classes, a single
one whose sign is the class. Labels are (b,), from 0 on.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from dualview.training.settings import SettingsError

Loss = Callable[[Tensor, Tensor, int, float], Tensor]
"""(outputs (b, k), labels (b,), number of classes, label smoothing) -> mean loss of the batch."""


def cross_entropy(
    outputs: Tensor, labels: Tensor, n_classes: int, label_smoothing: float = 0.0
) -> Tensor:
    """Mean over the examples of -log softmax of the label's output.

    `label_smoothing` is the share of the label that all outputs are given in equal parts.
    """
    return F.cross_entropy(outputs, labels, label_smoothing=label_smoothing)


def squared(
    outputs: Tensor, labels: Tensor, n_classes: int, label_smoothing: float = 0.0
) -> Tensor:
    """Mean over examples and outputs of (output - target)^2; labels are not smoothed.

    Raises:
        SettingsError: the outputs are neither one for each class nor a single one for two.
    """
    return F.mse_loss(outputs, targets(outputs, labels, n_classes))


def targets(outputs: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """What the squared loss wants of `outputs`: -1 or +1 of a single one, else 1 at the label.

    Raises:
        SettingsError: as `squared`.

    >>> import torch
    >>> targets(torch.zeros(2, 1), torch.tensor([0, 1]), 2).tolist()
    [[-1.0], [1.0]]
    >>> targets(torch.zeros(2, 3), torch.tensor([0, 2]), 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    width = outputs.shape[1]
    if width == 1 and n_classes == 2:
        return (2 * labels - 1).to(outputs.dtype)[:, None]
    if width != n_classes:
        raise SettingsError(
            f"loss: expected {n_classes} outputs for {n_classes} classes (or 1 for 2), got {width} "
            f"for {n_classes}. Repair: build the network for the classes of the data"
        )
    return F.one_hot(labels, n_classes).to(outputs.dtype)


def predictions(outputs: Tensor) -> Tensor:
    """The class that each row of outputs stands for, (b,): the highest, or a single one's sign.

    >>> import torch
    >>> predictions(torch.tensor([[0.1], [-0.1]])).tolist()
    [1, 0]
    """
    if outputs.shape[1] == 1:
        return (outputs[:, 0] > 0).long()
    return outputs.argmax(1)


LOSS_FUNCTIONS: dict[str, Loss] = {"cross-entropy": cross_entropy, "squared": squared}
"""One function for each name in `settings.LOSSES`."""
