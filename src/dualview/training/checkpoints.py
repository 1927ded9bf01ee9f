"""A checkpoint after every epoch, of which a kill at any moment leaves the last one whole.

A checkpoint is Lightning's own (network, optimiser, schedule, loops) with the curve and what was
measured beside it. It is written to a second file and renamed, and read with `weights_only`, so
that a file from elsewhere cannot run code. Its checksums are compared first: PyTorch writes them,
as every zip file has them, and does not look at them when it reads.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from dualview.errors import RunError
from dualview.files.opening import opened
from dualview.files.writing import write_atomically
from dualview.training.lightning import Checkpoint, CheckpointIO, lightning
from dualview.training.metrics import EpochMetrics, write_metrics
from dualview.training.module import Classifier
from dualview.training.watcher import Watcher

CURVE = "curve"
MEASUREMENTS = "measurements"


class AtomicCheckpoints(CheckpointIO):
    """How Lightning writes and reads checkpoint files here."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write the file whole or not at all."""
        write_atomically(Path(path), lambda part: torch.save(checkpoint, part))

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a file, tensors and plain values only, whatever `weights_only` says."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file if it is there."""
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint file, on the CPU.

    Raises:
        RunError: the file is not a checkpoint of this package, or it is damaged.
    """
    try:
        _compare_checksums(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        curve_of(checkpoint)
    # torch.load raises whatever its zip reader and unpickler meet.
    except Exception as error:
        raise RunError(
            f"{path}: expected a checkpoint of an interrupted run, got {type(error).__name__}: "
            f"{error}. Repair: delete the file, and the run starts anew"
        ) from error
    assert isinstance(checkpoint, dict)
    return checkpoint


def _compare_checksums(path: Path) -> None:
    with opened(path) as file, zipfile.ZipFile(file) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("compressed entries, which PyTorch does not write")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"other bytes than were written, in {damaged}")


def curve_of(checkpoint: Mapping[str, Any]) -> list[EpochMetrics]:
    """The epochs that a checkpoint's run had completed."""
    return [EpochMetrics(**epoch) for epoch in checkpoint[CURVE]]


def measurements_of(checkpoint: Mapping[str, Any]) -> list[Any]:
    """What a checkpoint's run had measured."""
    return list(checkpoint.get(MEASUREMENTS, ()))


class KeepEpochs(Checkpoint):
    """After each epoch: its metrics to the CSV and the loggers, everything to the checkpoint.

    As a `Checkpoint` it comes after the module's own `on_train_epoch_end`.
    """

    def __init__(self, checkpoint: Path, metrics: Path, watcher: Watcher) -> None:
        self.checkpoint = checkpoint
        self.metrics = metrics
        self.watcher = watcher

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
