"""How often a network is right."""

from __future__ import annotations

import torch
from torch import nn

from dualview.conversion.modes import evaluation_mode
from dualview.datasets import Dataset
from dualview.training.feeding import batches_for


def accuracy(net: nn.Module, data: Dataset, split: str = "test", batch_size: int = 512) -> float:
    """Share of a split that the network classifies rightly, in evaluation mode, where it lies.

    It is called on images as they are if it carries an input transform, else on standardised ones.

    >>> from dualview.datasets import load
    >>> data, net = load("digits"), nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> 0 <= accuracy(net, data) <= 1
    True
    """
    part = getattr(data, split)
    device = next(net.parameters()).device
    batches = batches_for(net, data, part, batch_size, device)
    with evaluation_mode(net), torch.no_grad():
        hits = [(net(images).argmax(1) == labels).sum() for images, labels in batches]
    return int(torch.stack(hits).sum()) / len(part)
