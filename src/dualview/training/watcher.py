"""What follows a run while it trains, for a progress bar and the like."""

from __future__ import annotations

from typing import Protocol

from dualview.training.metrics import EpochMetrics


class Watcher(Protocol):
    """Told of a run's progress, in this order; called in the main process only."""

    def started(self, epochs_done: int, epochs: int, steps_per_epoch: int) -> None:
        """Training is about to begin, or to go on after `epochs_done` epochs."""

    def stepped(self) -> None:
        """One training step is done. Called often: return quickly."""

    def epoch_done(self, metrics: EpochMetrics) -> None:
        """An epoch is done, evaluated and safe on disk."""


class Unwatched:
    """A watcher that ignores everything."""

    def started(self, epochs_done: int, epochs: int, steps_per_epoch: int) -> None:
        """Ignored."""

    def stepped(self) -> None:
        """Ignored."""

    def epoch_done(self, metrics: EpochMetrics) -> None:
        """Ignored."""
