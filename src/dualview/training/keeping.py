"""After every epoch of `train`: its metrics and a checkpoint; a kill leaves the last one whole.

A checkpoint is Lightning's own (network, optimiser, schedule, loops) with the curve and what was
measured beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dualview.training.checkpoints import CURVE, read_checkpoint, write_checkpoints
from dualview.training.lightning import Checkpoint, CheckpointIO, lightning
from dualview.training.metrics import write_metrics
from dualview.training.module import Classifier
from dualview.training.watcher import Watcher

MEASUREMENTS = "measurements"


class OwnCheckpoints(CheckpointIO):
    """How Lightning writes and reads checkpoint files here.

    Args:
        job: what the run is, as of `identity`.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        self.job = job

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write the file whole or not at all."""
        write_checkpoints([(Path(path), self.job, checkpoint)])

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a file, tensors and plain values only, whatever `weights_only` says."""
        checkpoint = read_checkpoint(Path(path), self.job)
        assert checkpoint is not None
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file if it is there."""
        Path(path).unlink(missing_ok=True)


class KeepEpochs(Checkpoint):
    """After each epoch: its metrics to the CSV and the loggers, everything to the checkpoint.

    It tells the watcher of the start, of every step, and of every epoch once that is safe. As a
    `Checkpoint` it comes after the module's own `on_train_epoch_end`.
    """

    def __init__(self, checkpoint: Path, metrics: Path, watcher: Watcher) -> None:
        self.checkpoint = checkpoint
        self.metrics = metrics
        self.watcher = watcher

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Tell."""
        assert isinstance(pl_module, Classifier)
        epochs = pl_module.settings.epochs
        assert epochs is not None
        if trainer.is_global_zero:
            self.watcher.started(len(pl_module.curve), epochs, pl_module.steps_per_epoch)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        *step: Any,
    ) -> None:
        """Tell."""
        if trainer.is_global_zero:
            self.watcher.stepped()

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Keep the epoch. The checkpoint comes last: what it holds is written elsewhere too."""
        assert isinstance(pl_module, Classifier)
        last = pl_module.curve[-1]
        numbers = {name: value for name, value in asdict(last).items() if value is not None}
        for logger in trainer.loggers:
            logger.log_metrics(numbers, step=last.epoch)
        if trainer.is_global_zero:
            write_metrics(pl_module.curve, self.metrics)
        trainer.save_checkpoint(self.checkpoint)
        if trainer.is_global_zero:
            self.watcher.epoch_done(last)

    def on_save_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Put the curve and the measurements into the checkpoint."""
        assert isinstance(pl_module, Classifier)
        checkpoint[CURVE] = [asdict(epoch) for epoch in pl_module.curve]
        checkpoint[MEASUREMENTS] = list(pl_module.measurements)
