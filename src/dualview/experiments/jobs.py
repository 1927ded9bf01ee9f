"""Runs, one after the other, each in a folder of its own: `Job` and `run_jobs`.

`compare` and all experiments are lists of jobs. What was interrupted, even by `kill -9`, and is
started again with the same settings reads back the finished jobs, goes on with the unfinished one,
and ends (on the CPU) with the numbers of an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dualview.experiments import disk_space, run_folders
from dualview.experiments.records import RunRecord, load_record, provenance, save_record
from dualview.training import (
    TrainingResult,
    TrainSettings,
    Unwatched,
    Watcher,
    is_main_process,
    train,
)

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

    @property
    def name(self) -> str:
        """Name of the job's folder."""
        return self.folder.name


class JobsProgress(Protocol):
    """Told how the jobs go, one by one, in one context."""

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


def run_jobs(
    jobs: Sequence[Job],
    out: Path,
    *,
    overwrite: bool = False,
    progress: JobsProgress | None = None,
) -> list[RunRecord]:
    """Do all jobs, or what is left of them, in their order; each leaves its record in its folder.

    A run that diverges is recorded as such, and the others go on. A job may read the files of an
    earlier one.

    Args:
        jobs: with folders inside `out`, each its own.
        out: the folder that is locked meanwhile.
        overwrite: delete earlier runs of the same names first.
        progress: shows how it goes; see `experiments.progress.TerminalProgress`.

    Returns:
        The records, in the order of the jobs.

    Raises:
        RunError: the folder is in use, holds runs with other settings, or has no room; nothing was
            trained. Or the room ran out on the way; the same call goes on once there is some.
        KeyboardInterrupt: the user interrupted; call again to go on.
    """
    out, progress = Path(out), progress or Silent()
    with _held(out):
        if overwrite and is_main_process():
            for job in jobs:
                run_folders.check_deletable(job.folder)
            for job in jobs:
                run_folders.delete_run(job.folder)
        for job in jobs:
            run_folders.check_folder(job.folder, job.config)
        disk_space.check(jobs, out)
        with progress.over(jobs), disk_space.explained(out):
            return [_finish(job, progress) for job in jobs]


def _finish(job: Job, progress: JobsProgress) -> RunRecord:
    """The job's record: read back if it is done, else worked for."""
    path = job.folder / run_folders.RECORD
    if path.exists():
        record = load_record(path)
        if is_main_process():
            run_folders.close_folder(job.folder)
            progress.skipped(job, record)
        return record
    if is_main_process():
        run_folders.open_folder(job.folder, job.config)
    record = job.perform(job.folder, progress.watcher(job))
    if is_main_process():
        save_record(record, path)
        run_folders.close_folder(job.folder)
        progress.done(job, record)
    return record


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """The folder's lock, for the main process; those that help it share it."""
    with run_folders.locked(out) if is_main_process() else nullcontext():
        yield


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
        return record(config["experiment"], config, kind, seed, result, measurements)

    return Job(kind, seed, folder, config, cost, title, perform, parameters)


def record(
    experiment: str,
    config: dict[str, Any],
    kind: str,
    seed: int,
    result: TrainingResult,
    measurements: dict[str, Any] | None = None,
) -> RunRecord:
    """The record of a training run that has just ended.

    Args:
        experiment: its name.
        config: all options; holds data, arch, width, n_train, n_validation, n_test and epochs.
        kind: of network.
        seed: of the run.
        result: of `train`.
        measurements: what was measured beside the curve.
    """
    return RunRecord(
        experiment=experiment,
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
