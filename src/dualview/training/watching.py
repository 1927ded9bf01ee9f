"""The Lightning callback that passes a run's progress on to a `Watcher`."""

from __future__ import annotations

from typing import Any

from dualview.training.lightning import lightning
from dualview.training.module import Classifier
from dualview.training.watcher import Watcher


class TellWatcher(lightning.Callback):
    """Tells of the start and of every step; `KeepEpochs` tells of every epoch, once it is safe."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Pass it on."""
        assert isinstance(pl_module, Classifier)
        epochs = pl_module.settings.epochs
        assert epochs is not None
        if trainer.is_global_zero:
            self.watcher.started(len(pl_module.curve), epochs, pl_module.steps_per_epoch)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Pass it on."""
        if trainer.is_global_zero:
            self.watcher.stepped()
