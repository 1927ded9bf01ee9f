"""Data, networks and runs that are small enough for tests of training."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from dualview.datasets import Dataset, Split
from dualview.datasets.dataset import channel_statistics
from dualview.training import EpochMetrics, TrainSettings, Unwatched

QUICK = TrainSettings(
    epochs=4, batch_size=16, learning_rate=0.01, accelerator="cpu", tensorboard=False
)
EPOCH = EpochMetrics(
    epoch=0,
    train_loss=1.5,
    train_accuracy=0.5,
    validation_loss=None,
    validation_accuracy=None,
    test_loss=2.5,
    test_accuracy=0.25,
    learning_rate=0.1,
    seconds=2.0,
)


def striped_data(n: int = 80) -> Dataset:
    """Three classes of 1x4x4 images: one row of each image is bright; the splits differ."""
    splits = [_split(n, 0), _split(24, 1), _split(30, 2)]
    mean, std = channel_statistics(splits[0].images)
    return Dataset(*splits, ("first", "second", "third"), mean, std, "stripes")


def _split(n: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 200, (n, 1, 4, 4), generator=generator, dtype=torch.uint8)
    labels = torch.arange(n) % 3
    images[torch.arange(n), 0, labels] += 40
    return Split(images, labels)


def network(seed: int = 0) -> nn.Module:
    """A dense network with batch norm and dropout, both of which tell training from evaluation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(16, 12),
            nn.BatchNorm1d(12),
            nn.ReLU(),
            nn.Dropout(0.25),
            nn.Linear(12, 3),
        )


class StopAfter(Unwatched):
    """Interrupts, as Ctrl-C does, after some steps or as soon as an epoch is safe."""

    def __init__(self, *, steps: int = -1, epochs: int = -1) -> None:
        self.steps = steps
        self.epochs = epochs

    def stepped(self) -> None:
        """Count down."""
        self.steps -= 1
        if self.steps == 0:
            raise KeyboardInterrupt

    def epoch_done(self, metrics: EpochMetrics) -> None:
        """Compare."""
        if metrics.epoch + 1 == self.epochs:
            raise KeyboardInterrupt


def timeless(curve: tuple[EpochMetrics, ...]) -> list[tuple]:
    """What must not depend on interruptions: the curve without its seconds."""
    return [
        tuple(value for name, value in vars(epoch).items() if name != "seconds") for epoch in curve
    ]


def content(folder: Path) -> set[str]:
    """Names of what lies in a folder."""
    return {path.name for path in folder.iterdir()}
