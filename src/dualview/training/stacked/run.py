"""`train_stacked`: several fully connected networks trained in one pass, each as if alone.

Small networks keep a processor waiting: a step on 32 images of 784 pixels is a dozen products of
small matrices. Networks that differ in their seed only are stacked instead, and each layer of all
of them is one batched product. Each keeps its own parameters, order of the data and optimiser, so
that its numbers are those of `train` up to the order of sums in floating point. Where gates are
frozen, those of all examples are computed once, and kept as bytes.

This is a plain loop and not Lightning, whose work between two steps takes a fifth to a quarter of a
step's time here (0.9 ms on top of 4.2 ms; five networks of width 128 on MNIST, batch 32, one core).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualview.arguments import (
    file_path,
    flag,
    instance_of,
    offering,
    optional,
    require,
    several,
    takes,
    torch_device,
)
from dualview.datasets import Dataset
from dualview.training import optimisation
from dualview.training.feeding import feed
from dualview.training.identity import job_identity
from dualview.training.interruption import terminable
from dualview.training.metrics import EpochMetrics, TrainingResult
from dualview.training.run import device_name, make_folder
from dualview.training.settings import SettingsError, TrainSettings
from dualview.training.stacked.examples import Examples, epoch_order
from dualview.training.stacked.members import Member, hand_out, keep, mean_metrics, take_in
from dualview.training.stacked.network import has_frozen_gates, stack
from dualview.training.threads import use_threads
from dualview.training.watcher import Unwatched, Watcher

PRECISIONS = {"32-true": torch.float32, "64-true": torch.float64}
"""The precisions in which a stack can be trained."""


@takes(
    SettingsError,
    data=instance_of(Dataset),
    validate=flag,
    watcher=optional(offering("started", "stepped", "epoch_done")),
)
def train_stacked(
    nets: Sequence[nn.Module],
    data: Dataset,
    settings: Sequence[TrainSettings],
    folders: Sequence[Path],
    *,
    validate: bool = True,
    watcher: Watcher | None = None,
) -> list[TrainingResult]:
    """Train all `nets` in place; go on from the folders' checkpoints if an earlier call left some.

    Files and results are those of `train`, for each network by itself, input transforms included. A
    network that diverges drops out at the end of the epoch, and the others go on.

    Args:
        nets: fully connected networks that `network.stack` takes.
        data: train, validation and test split.
        settings: of each network; resolved, and equal but for the seed.
        folders: of each network; made if missing.
        validate: False leaves the validation split alone, for runs that train on it.
        watcher: told of the steps of the stack, and of the means over its networks.

    Returns:
        The results in the order of the networks. An epoch's seconds are the stack's, shared out
        equally.

    Raises:
        SettingsError: the networks or the settings cannot be stacked.
        RunError: a checkpoint is damaged, or of another run.
        KeyboardInterrupt: the user interrupted; completed epochs are safe.
        Terminated: likewise, as in `train`.

    >>> import tempfile, dualview.datasets as datasets
    >>> from dualview.architectures import fc
    >>> nets = [fc(input_shape=(1, 8, 8), width=32) for _ in range(2)]
    >>> settings = [TrainSettings(epochs=2, seed=seed).resolved(1258) for seed in range(2)]
    >>> with tempfile.TemporaryDirectory() as out:
    ...     folders = [Path(out, str(seed)) for seed in range(2)]
    ...     results = train_stacked(nets, datasets.load("digits"), settings, folders)
    >>> [(result.status, len(result.curve)) for result in results]
    [('finished', 2), ('finished', 2)]
    """
    nets, settings, folders = _checked(nets, settings, folders)
    _check_settings(settings)
    first, watcher = settings[0], watcher or Unwatched()
    device = _device(first)
    members = []
    for net, own, folder in zip(nets, settings, folders, strict=True):
        make_folder(folder)
        net.to(device, PRECISIONS[first.precision]).train()
        fed = feed(net, data)
        job = job_identity("train_stacked", fed, data, own, validate=validate)
        member = Member(net, fed, own, folder, job)
        member.resume()
        members.append(member)
    _check_feeds(members)
    with use_threads(first.threads), terminable():
        _train_members(members, data, device, validate, watcher)
        return [member.finish(device_name(device)) for member in members]


def _train_members(
    members: Sequence[Member], data: Dataset, device: torch.device, validate: bool, watcher: Watcher
) -> None:
    """Every epoch for those members who are due, until none is."""
    settings = members[0].settings
    assert settings.epochs is not None
    assert settings.batch_size is not None
    begin = min(member.epochs_done for member in members)
    watcher.started(begin, settings.epochs, -(-len(data.train) // settings.batch_size))
    dtype = PRECISIONS[settings.precision]
    fed = members[0].fed
    train = Examples.of(data.train, fed, device, dtype)
    evaluated = [Examples.of(data.test, fed, device, dtype)]
    if validate:
        evaluated.append(Examples.of(data.validation, fed, device, dtype))
    together: _Pass | None = None
    for epoch in range(begin, settings.epochs):
        due = [m for m in members if m.epochs_done == epoch and not m.diverged]
        if not due:
            continue
        if together is None or together.members != due:
            together = _Pass(due, train, evaluated, data.input_shape)
        together.epoch(epoch, watcher.stepped)
        kept = [member for member in due if not member.diverged]
        if kept:
            keep(kept)
            watcher.epoch_done(mean_metrics(kept))


class _Pass:
    """A stack of members who are at the same epoch, with its optimiser and its examples.

    Args:
        members: whose parameters and optimisers it takes over, and hands back after each epoch.
        train: train split.
        evaluated: test split, and validation split if it is looked at.
        shape: of one image.
    """

    def __init__(
        self,
        members: list[Member],
        train: Examples,
        evaluated: Sequence[Examples],
        shape: Sequence[int],
    ) -> None:
        self.members = members
        self.settings = members[0].settings
        nets = [member.fed.core for member in members]
        self.stack = stack(nets, train.images.shape[1])
        self.optimiser = optimisation.optimiser(self.settings, self.stack.parameters())
        take_in(self.stack, self.optimiser, members)
        frozen = has_frozen_gates(nets[0])
        self.train = train.gated(nets, shape) if frozen else train
        self.evaluated = [part.gated(nets, shape) if frozen else part for part in evaluated]

    def epoch(self, epoch: int, stepped: Callable[[], None]) -> None:
        """Train and evaluate one epoch; members get their epoch on the curve, or why they diverged.

        Args:
            epoch: counted from 0.
            stepped: called after every step.
        """
        started = time.perf_counter()
        train, rate = self._train(epoch, stepped)
        test, *seen = [self._evaluate(part) for part in self.evaluated]
        hand_out(self.stack, self.optimiser, self.members)
        seconds = (time.perf_counter() - started) / len(self.members)
        unseen: list[tuple[float | None, float | None]] = [(None, None)] * len(self.members)
        rows = zip(self.members, train, seen[0] if seen else unseen, test, strict=True)
        for member, of_train, of_validation, of_test in rows:
            metrics = EpochMetrics(epoch, *of_train, *of_validation, *of_test, rate, seconds)
            member.diverged = _divergence(metrics, self.settings)
            if not member.diverged:
                member.curve.append(metrics)

    def _train(
        self, epoch: int, stepped: Callable[[], None]
    ) -> tuple[list[tuple[float, float]], float]:
        """One pass over the train split: mean losses and accuracies, and the last step's rate."""
        n, size = len(self.train.labels), self.settings.batch_size
        assert size is not None
        assert self.settings.epochs is not None
        seeds = [member.settings.seed for member in self.members]
        order = torch.stack([epoch_order(seed, epoch, n) for seed in seeds]).to(
            self.train.labels.device
        )
        starts = range(0, n, size)
        tally, rate = _Tally(), 0.0
        for number, start in enumerate(starts, start=epoch * len(starts)):
            rate = optimisation.learning_rate(
                self.settings, number, len(starts) * self.settings.epochs
            )
            images, labels, gates = self.train.batch(order[:, start : start + size])
            self.optimiser.param_groups[0]["lr"] = rate
            self.optimiser.zero_grad()
            logits = self.stack(images, gates)
            losses = _losses(logits, labels)
            losses.mean(1).sum().backward()
            self.optimiser.step()
            tally.add(losses, logits, labels)
            stepped()
        return tally.means(), rate

    @torch.no_grad()
    def _evaluate(self, examples: Examples) -> list[tuple[float, float]]:
        tally = _Tally()
        for images, labels, gates in examples.parts(len(self.members)):
            logits = self.stack(images, gates)
            tally.add(_losses(logits, labels), logits, labels)
        return tally.means()


class _Tally:
    """Running sums of losses and hits of each network."""

    def __init__(self) -> None:
        self.examples = 0
        self.losses: Tensor | float = 0.0
        self.hits: Tensor | float = 0.0

    def add(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: losses and labels (s, b), logits (s, b, classes)."""
        self.examples += labels.shape[1]
        self.losses = self.losses + losses.detach().sum(1)
        self.hits = self.hits + (logits.detach().argmax(2) == labels).sum(1)

    def means(self) -> list[tuple[float, float]]:
        """Mean loss and accuracy of each network."""
        sums = (torch.as_tensor(value).double() for value in (self.losses, self.hits))
        losses, hits = ((value / self.examples).tolist() for value in sums)
        return list(zip(losses, hits, strict=True))


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each example, (s, b)."""
    each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return each.unflatten(0, labels.shape)


def _divergence(metrics: EpochMetrics, settings: TrainSettings) -> str:
    """Why the member is out; empty if all of its losses are finite."""
    for split in ("train", "validation", "test"):
        loss = getattr(metrics, f"{split}_loss")
        if loss is not None and not math.isfinite(loss):
            return (
                f"the {split} loss is {loss} in epoch {metrics.epoch + 1} of {settings.epochs}; "
                f"expected a finite number. Repair: a lower learning rate (now "
                f"{settings.learning_rate:g}) or another schedule"
            )
    return ""


def _checked(
    nets: Any, settings: Any, folders: Any
) -> tuple[tuple[nn.Module, ...], tuple[TrainSettings, ...], tuple[Path, ...]]:
    """What is given for each network, as tuples of one length."""
    nets = require("nets", nets, several(instance_of(nn.Module), "networks"), SettingsError)
    count = len(nets)
    own = several(instance_of(TrainSettings), f"{count} TrainSettings", length=count)
    paths = several(file_path, f"{count} paths", length=count)
    return (
        nets,
        require("settings", settings, own, SettingsError),
        require("folders", folders, paths, SettingsError),
    )


def _check_settings(settings: Sequence[TrainSettings]) -> None:
    """Refuse what this loop does not do.

    Raises:
        SettingsError: an option has a value that needs `train`.
    """
    first = settings[0]
    for name in ("epochs", "batch_size", "learning_rate"):
        if getattr(first, name) is None:
            raise SettingsError(
                f"settings: expected resolved ones, got {name}=None. Repair: "
                f"settings.resolved(len(data.train))"
            )
    if any(replace(own, seed=first.seed) != first for own in settings):
        raise SettingsError(
            "settings: expected those of all networks to be equal but for the seed, got others. "
            "Repair: train the networks one by one"
        )
    for name, known in (
        ("loss", ("cross-entropy",)),
        ("precision", tuple(PRECISIONS)),
        ("devices", (1, "1", "auto")),
        ("flip", (False,)),
        ("crop", (0,)),
        ("decayed", ("all",)),
        ("label_smoothing", (0.0,)),
    ):
        if getattr(first, name) not in known:
            raise SettingsError(
                f"{name}: expected {' or '.join(map(repr, known))} where networks are trained in "
                f"one pass, got {getattr(first, name)!r}"
            )


def _check_feeds(members: Sequence[Member]) -> None:
    """Refuse networks that read their images in different ways.

    Raises:
        SettingsError: their input transforms differ.
    """
    if len({(member.fed.mean, member.fed.std) for member in members}) > 1:
        raise SettingsError(
            "networks trained in one pass: expected one input transform for all, got several. "
            "Repair: train them one by one"
        )


def _device(settings: TrainSettings) -> torch.device:
    """Where Lightning would train."""
    name = settings.accelerator
    if name == "auto":
        name = "gpu" if torch.cuda.is_available() else "cpu"
    found: torch.device = require(
        "accelerator", "cuda" if name == "gpu" else name, torch_device, SettingsError
    )
    return found
