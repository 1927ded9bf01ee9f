"""The LightningModule: one network, its data, its optimiser, and the metrics of each epoch.

A run must not depend on where it was interrupted. So nothing random is carried from one epoch to
the next: order and augmentation come from (seed, epoch) inside `Batches`, and PyTorch's own
generator, which dropout draws from, is seeded with (seed, epoch, process) at each epoch's start.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from dualview.datasets import Batches, Dataset, Split
from dualview.datasets.batches import mixed_seed
from dualview.errors import DivergenceError
from dualview.training import optimisation
from dualview.training.feeding import Feed, completed_state
from dualview.training.lightning import lightning
from dualview.training.losses import LOSS_FUNCTIONS, predictions
from dualview.training.metrics import EpochMetrics
from dualview.training.settings import TrainSettings
from dualview.training.teacher import Teacher

CHECK_EVERY = 50
"""Steps between looks at the loss: each look makes a GPU wait."""

EVALUATION_BATCH = 512

Batch = tuple[Tensor, Tensor]

Measure = Callable[[nn.Module, int], Any]
"""(network, epochs done) -> what to keep, made of numbers, texts, lists and dicts; or None."""


class Tally:
    """Running sums of loss and hits, kept on the device so that no step waits for it."""

    def __init__(self) -> None:
        self.examples = 0
        self.loss: Tensor | float = 0.0
        self.hits: Tensor | float = 0.0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: `loss` is its mean, logits are (b, outputs), labels (b,)."""
        self.examples += len(labels)
        self.loss = self.loss + loss.detach() * len(labels)
        self.hits = self.hits + (predictions(logits.detach()) == labels).sum()

    def means(self, total: Callable[[Tensor], Tensor]) -> tuple[float, float]:
        """Mean loss and accuracy of all examples so far, of all processes.

        Args:
            total: sums a tensor over the processes.
        """
        sums = [torch.as_tensor(value) for value in (self.loss, self.hits, self.examples)]
        device = sums[0].device
        loss, hits, examples = total(
            torch.stack([value.to(device, torch.float32) for value in sums])
        ).tolist()
        return loss / examples, hits / examples


class Loader:
    """Batches as Lightning's plainest kind of loader, which it asks for nothing but batches.

    Args:
        batches: what to pass on.
        epoch: tells the current epoch when a pass begins.
    """

    def __init__(self, batches: Batches, epoch: Callable[[], int]) -> None:
        self.batches = batches
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        # A generator: the epoch is read when the first batch is asked for, not when Lightning
        # makes the iterator, which for the first epoch is before the epoch is known.
        self.batches.set_epoch(self.epoch())
        yield from self.batches


class Classifier(lightning.LightningModule):
    """Trains `net` on `data`.

    Args:
        net: maps images (b, c, h, w) to outputs (b, k), as the settings' loss takes them.
        fed: how it gets its images.
        data: all three splits.
        settings: resolved.
        measure: as `train` takes it.
        validate: as `train` takes it.
        teacher: as `train` takes it.

    Attributes:
        curve: metrics of the completed epochs; travels in the checkpoint.
        measurements: what `measure` gave so far; travels there too.
    """

    def __init__(
        self,
        net: nn.Module,
        fed: Feed,
        data: Dataset,
        settings: TrainSettings,
        measure: Measure | None = None,
        *,
        validate: bool = True,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        # Not a member module: its parameters are `net`'s, under `net`'s names.
        self._run = [torch.compile(fed.core) if settings.compile else fed.core]
        self.fed = fed  # no module, so that its modules are no members either
        self.data = data
        self.settings = settings
        self.measure = measure
        self.teacher = teacher  # no module either: it is not trained
        self.evaluated = (data.test, data.validation) if validate else (data.test,)
        self.curve: list[EpochMetrics] = []
        self.measurements: list[Any] = []
        self._train = Tally()
        self._tallies: tuple[Tally, ...] = ()
        self._started = 0.0

    @property
    def steps_per_epoch(self) -> int:
        """Training steps in an epoch."""
        return len(self._train_loader)

    @property
    def total_steps(self) -> int:
        """Training steps of the whole run."""
        return self._epochs * self.steps_per_epoch

    @property
    def _epochs(self) -> int:
        assert self.settings.epochs is not None
        return self.settings.epochs

    # Data: the whole batch size is shared out over the processes, each on its own device.

    def train_dataloader(self) -> Loader:
        """Shuffled and augmented batches of the train split."""
        return self._train_loader

    @cached_property
    def _train_loader(self) -> Loader:
        options, processes = self.settings, self.trainer.world_size
        assert options.batch_size is not None
        batches = Batches(
            self.data.train,
            max(1, options.batch_size // processes),
            device=self.trainer.strategy.root_device,
            mean=self.fed.mean,
            std=self.fed.std,
            shuffle=True,
            seed=options.seed,
            crop=options.crop,
            flip=options.flip,
            shard=(self.trainer.global_rank, processes),
        )
        return Loader(batches, lambda: self.current_epoch)

    def val_dataloader(self) -> list[Loader]:
        """The test split, and the validation split if it is looked at; every process does all."""
        return [self._evaluation(split) for split in self.evaluated]

    def _evaluation(self, split: Split) -> Loader:
        device = self.trainer.strategy.root_device
        batches = Batches(
            split, EVALUATION_BATCH, device=device, mean=self.fed.mean, std=self.fed.std
        )
        return Loader(batches, lambda: 0)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up a run that began before networks carried their input transform."""
        checkpoint["state_dict"] = completed_state(checkpoint["state_dict"], self.net, "net.")

    # Training

    def configure_optimizers(self) -> Any:
        """Optimiser, and a schedule that steps after each training step."""
        optimiser = optimisation.optimiser(self.settings, self.net.parameters())
        schedule = optimisation.scheduler(self.settings, optimiser, self.total_steps)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_train_start(self) -> None:
        """Measure the untrained network, unless the run goes on."""
        if not self.curve:
            self._take_measurement(0)

    def on_train_epoch_start(self) -> None:
        """Training mode, fresh sums, and randomness that depends on (seed, epoch) alone."""
        self.net.train()
        if self.teacher is not None:
            self.teacher.model.to(self.device)
            self.teacher.set_gates(self.net, self.current_epoch, self._epochs)
        self._train = Tally()
        self._started = time.perf_counter()
        torch.manual_seed(mixed_seed(self.settings.seed, self.current_epoch, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean loss of a batch.

        Raises:
            DivergenceError: a loss since the last look was not finite.
        """
        images, labels = batch
        logits = self._logits(images)
        loss = self._loss(logits, labels, self.settings.label_smoothing)
        if self.teacher is not None:
            fitting = self.teacher.fits_gates(self.current_epoch, self._epochs)
            loss = self.teacher.loss(self.fed.core, images, logits, loss, fitting=fitting)
        self._train.add(loss, logits, labels)
        if batch_idx % CHECK_EVERY == CHECK_EVERY - 1:
            self._finite_means(self._train, "train")
        return loss

    # Evaluation, which Lightning does in evaluation mode and without gradients.

    def on_validation_epoch_start(self) -> None:
        """Fresh sums."""
        self._tallies = tuple(Tally() for _ in self.evaluated)

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add a batch to the sums of its split."""
        images, labels = batch
        logits = self._logits(images)
        self._tallies[dataloader_idx].add(self._loss(logits, labels), logits, labels)

    def _logits(self, images: Tensor) -> Tensor:
        """Of a batch, in the memory format of the parameters; see `run.train`."""
        (run,) = self._run
        return run(images.contiguous(memory_format=torch.channels_last))

    def _loss(self, logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        loss = LOSS_FUNCTIONS[self.settings.loss]
        # bfloat16 is too coarse for it; float64 stays.
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return loss(logits, labels, self.data.n_classes, label_smoothing)

    def on_train_epoch_end(self) -> None:
        """Put the epoch's metrics on the curve (validation has run by now).

        Raises:
            DivergenceError: a loss of this epoch was not finite.
        """
        epoch, (tested, *seen) = self.current_epoch, self._tallies
        train = self._finite_means(self._train, "train")
        validation: tuple[float | None, float | None] = (None, None)
        if seen:
            validation = self._finite_means(seen[0], "validation")
        test = self._finite_means(tested, "test")
        rate = optimisation.learning_rate(self.settings, self.global_step - 1, self.total_steps)
        seconds = time.perf_counter() - self._started
        self.curve.append(EpochMetrics(epoch, *train, *validation, *test, rate, seconds))
        self._take_measurement(len(self.curve))

    def _take_measurement(self, epochs_done: int) -> None:
        """Call `measure` in evaluation mode, without gradients; each epoch sets the mode anew."""
        if self.measure is None:
            return
        self.net.eval()
        with torch.no_grad():
            taken = self.measure(self.net, epochs_done)
        if taken is not None:
            self.measurements.append(taken)

    def _finite_means(self, tally: Tally, split: str) -> tuple[float, float]:
        """Mean loss and accuracy; all processes get the same, so all stop or none."""
        loss, accuracy = tally.means(
            lambda sums: self.trainer.strategy.reduce(sums, reduce_op="sum")
        )
        if math.isfinite(loss):
            return loss, accuracy
        raise DivergenceError(
            f"the {split} loss is {loss} in epoch {self.current_epoch + 1} of "
            f"{self.settings.epochs}, at step {self.global_step} of {self.total_steps} or shortly "
            f"before; expected a finite number. Repair: a lower learning rate (now "
            f"{self.settings.learning_rate:g}) or another schedule"
        )
