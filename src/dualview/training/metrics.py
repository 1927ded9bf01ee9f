"""What training measures: `EpochMetrics` for an epoch, `TrainingResult` for a run. No torch."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualview.files.writing import write_atomically

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch of one run; losses are means of the settings' loss, accuracies are fractions.

    Train figures are means over the epoch's batches as they were met, in training mode. Validation
    and test figures are taken after the epoch, in evaluation mode.
    """

    epoch: int
    """Counted from 0."""
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    test_loss: float
    test_accuracy: float
    learning_rate: float
    """Of the epoch's last step."""
    seconds: float
    """Training and evaluation together."""


@dataclass(frozen=True)
class TrainingResult:
    """What `train` hands back; the trained parameters are in the network it was given."""

    status: str
    """ "finished" or "diverged"."""
    message: str
    """Why it diverged; empty otherwise."""
    curve: tuple[EpochMetrics, ...]
    """The epochs that were completed, those before an interruption included."""
    parameters: int
    """Numbers that were trained; one shared by two networks counts once."""
    device: str
    """For example "cpu (2 threads)" or the name of the GPU."""
    measurements: tuple[Any, ...] = ()
    """What `measure` gave, in order, Nones left out; those before an interruption included."""
    network: nn.Module | None = field(default=None, compare=False, repr=False)
    """Takes images as they are, pixels from 0 to 1: the network that was trained where it carries
    its input transform, else that transform with the network behind it."""

    @property
    def seconds(self) -> float:
        """Time of all completed epochs."""
        return sum(epoch.seconds for epoch in self.curve)

    @property
    def test_accuracy(self) -> float | None:
        """The score: test accuracy after the last epoch; None for a run that diverged."""
        return self.curve[-1].test_accuracy if self.status == "finished" else None

    @property
    def max_test_accuracy_over_epochs(self) -> float | None:
        """Highest test accuracy of any epoch. It looks at the test set, so it is no score."""
        accuracies = [epoch.test_accuracy for epoch in self.curve]
        return max(accuracies) if self.status == "finished" else None


def write_metrics(curve: Sequence[EpochMetrics], path: Path) -> None:
    """Write the whole curve as CSV, one row an epoch; the file appears whole or not at all."""

    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="") as stream:
            names = [field.name for field in fields(EpochMetrics)]
            writer = csv.DictWriter(stream, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(epoch) for epoch in curve)

    write_atomically(path, write, flush=False)  # the checkpoint has it too
