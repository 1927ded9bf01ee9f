"""What a run is, each in a folder of its own: `Job`.

`compare` and all experiments are lists of jobs; `running` does them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dualview.experiments.records import RunRecord, provenance
from dualview.training import TrainingResult, TrainSettings, Unwatched, Watcher, train
from dualview.training.run import device_name

if TYPE_CHECKING:
    from torch import nn

    from dualview.datasets import Dataset

Perform = Callable[[Path, Watcher], RunRecord]
"""Trains or measures in a folder, going on from what an interrupted call left there."""

RELATIVE_COST: Mapping[str, float] = {"dnn": 1.0}
GATED_COST = 2.0


@dataclass(frozen=True)
class Job:
    """One run: what it depends on, and how it is done."""

    kind: str
    seed: int
    folder: Path
    config: dict[str, Any]
    """Every option that its numbers depend on, flat, as JSON keeps it."""
    cost: float
    """In any unit that the jobs of one experiment share; only for the time left."""
    title: str
    """As progress names it: "DLGN, seed 2"."""
    perform: Perform
    parameters: int = 0
    """Numbers it trains, for the disk space that its checkpoint takes."""
    watched_as: str = ""
    """Its title while it trains, where others train with it: the numbers shown are their mean."""
    needs: tuple[str, ...] = ()
    """Names of earlier jobs whose files it reads: they are done first, whoever does them."""
    together: str = ""
    """Of jobs that one process does, since the first of them works for all: the same text."""

    @property
    def name(self) -> str:
        """Name of the job's folder."""
        return self.folder.name


class JobsProgress(Protocol):
    """Told how the jobs go, in one context; several may be under way at a time."""

    def over(self, jobs: Sequence[Job]) -> Any:
        """A context manager around all of them."""

    def skipped(self, job: Job, record: RunRecord) -> None:
        """The job was finished by an earlier call."""

    def watcher(self, job: Job) -> Watcher:
        """The job begins; who is told of its epochs."""

    def done(self, job: Job, record: RunRecord) -> None:
        """The job finished or diverged, and its record is safe."""


class Silent:
    """No progress shown."""

    def over(self, jobs: Sequence[Job]) -> Any:
        """Nothing to set up."""
        return nullcontext()

    def skipped(self, job: Job, record: RunRecord) -> None:
        """Ignored."""

    def watcher(self, job: Job) -> Watcher:
        """Nobody."""
        return Unwatched()

    def done(self, job: Job, record: RunRecord) -> None:
        """Ignored."""


# ----------------------------------------------------------------- what jobs that train are made of


def training_job(
    kind: str,
    seed: int,
    folder: Path,
    config: dict[str, Any],
    *,
    title: str,
    cost: float,
    parameters: int,
    build: Callable[[], nn.Module],
    data: Dataset,
    training: TrainSettings,
    measure: Callable[[nn.Module], dict[str, Any]] | None = None,
    validate: bool = True,
) -> Job:
    """A job that trains one classifier.

    Args:
        kind: as in `Job`.
        seed: as in `Job`.
        folder: as in `Job`.
        config: as in `Job`; holds what `record` reads.
        title: as in `Job`.
        cost: as in `Job`.
        parameters: as in `Job`.
        build: makes the untrained network, the same in each call.
        data: what it is trained on.
        training: resolved.
        measure: called with the trained network; gives the record's measurements. Not called where
            training diverged.
        validate: as `train` takes it.
    """

    def perform(where: Path, watcher: Watcher) -> RunRecord:
        net = build()
        result = train(net, data, training, where, watcher=watcher, validate=validate)
        finished = result.status == "finished"
        measurements = measure(net) if measure and finished else None
        return record(config, kind, seed, result, measurements)

    return Job(kind, seed, folder, config, cost, title, perform, parameters)


def record(
    config: dict[str, Any],
    kind: str,
    seed: int,
    result: TrainingResult,
    measurements: dict[str, Any] | None = None,
) -> RunRecord:
    """The record of a training run that has just ended.

    Args:
        config: all options; holds experiment, data, arch, width, n_train, n_validation, n_test and
            epochs.
        kind: of network.
        seed: of the run.
        result: of `train`.
        measurements: what was measured beside the curve.
    """
    return RunRecord(
        experiment=config["experiment"],
        data=config["data"],
        architecture=config["arch"],
        width=config["width"],
        kind=kind,
        seed=seed,
        epochs=config["epochs"],
        status=result.status,
        message=result.message,
        test_accuracy=result.test_accuracy,
        max_test_accuracy_over_epochs=result.max_test_accuracy_over_epochs,
        n_train=config["n_train"],
        n_validation=config["n_validation"],
        n_test=config["n_test"],
        parameters=result.parameters,
        seconds=result.seconds,
        config=config,
        curve=result.curve,
        provenance=provenance(result.device),
        measurements=measurements or {},
    )


def needing(job: Job, trained: Path | None, message: str) -> Job:
    """The job, if it reads the network that an earlier one leaves; without one it has diverged.

    Args:
        job: that reads it.
        trained: the file; None: it reads none.
        message: what its record says then, with a place for the name of the earlier job.
    """
    if trained is None:
        return job
    earlier, inner = trained.parent.name, job.perform

    def perform(where: Path, watcher: Watcher) -> RunRecord:
        if trained.exists():
            return inner(where, watcher)
        result = TrainingResult("diverged", message.format(earlier), (), job.parameters, "")
        return record(job.config, job.kind, job.seed, result)

    return replace(job, perform=perform, needs=(earlier,))


def measured_record(
    config: dict[str, Any],
    measurements: dict[str, Any],
    *,
    n_train: int,
    n_test: int,
    parameters: int,
    seconds: float,
    test_accuracy: float | None = None,
    message: str = "",
    device: str = "cpu",
) -> RunRecord:
    """The record of a job that fits in a way of its own, and so has no curve.

    Args:
        config: all options; holds experiment, data, arch, width, kind, seed and epochs.
        measurements: what was measured.
        n_train: examples to learn from.
        n_test: examples that the score is of.
        parameters: numbers that were fitted.
        seconds: how long it took.
        test_accuracy: the score, if there is one.
        message: why it diverged; empty otherwise.
        device: where it was done.
    """
    import torch

    return RunRecord(
        experiment=config["experiment"],
        data=config["data"],
        architecture=config["arch"],
        width=config["width"],
        kind=config["kind"],
        seed=config["seed"],
        epochs=config["epochs"],
        status="diverged" if message else "finished",
        message=message,
        test_accuracy=test_accuracy,
        max_test_accuracy_over_epochs=None,
        n_train=n_train,
        n_validation=0,
        n_test=n_test,
        parameters=parameters,
        seconds=seconds,
        config=config,
        curve=(),
        provenance=provenance(device_name(torch.device(device))),
        measurements=measurements,
    )


def training_config(training: TrainSettings) -> dict[str, Any]:
    """The options of training as a job's config keeps them; what changes no number is left out."""
    options = asdict(training)
    del options["tensorboard"]
    return options


def cost(kind: str) -> float:
    """How long a step of this kind takes, in steps of the DNN; rough.

    >>> cost("dnn"), cost("dlgn-ones")
    (1.0, 2.0)
    """
    return RELATIVE_COST.get(kind, GATED_COST)
