"""Small data and networks that train in milliseconds."""

from __future__ import annotations

import torch
from torch import nn

from dualview.datasets import Dataset, Split
from dualview.datasets.dataset import channel_statistics


def tiny_data(n_train: int = 40, n_other: int = 12, seed: int = 0) -> Dataset:
    """Noisy stripes: three classes, told apart by which row of a 1x4x4 image is bright."""
    generator = torch.Generator().manual_seed(seed)
    splits = [_split(n, generator) for n in (n_train, n_other, n_other)]
    mean, std = channel_statistics(splits[0].images)
    return Dataset(*splits, class_names=("a", "b", "c"), mean=mean, std=std, description="stripes")


def _split(n: int, generator: torch.Generator) -> Split:
    labels = torch.arange(n) % 3
    images = torch.randint(0, 150, (n, 1, 4, 4), generator=generator)
    images[torch.arange(n), 0, labels] += 60
    return Split(images.to(torch.uint8), labels)


def tiny_net(seed: int = 0) -> nn.Module:
    """Convolution, batch norm and dropout: all that behaves differently in training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(64, 3),
        )
