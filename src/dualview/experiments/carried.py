"""What a worker does with the jobs that were carried to it, and what it tells of them."""

from __future__ import annotations

import pickle
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dualview.cluster import travels_back
from dualview.errors import DualviewError, RunError
from dualview.experiments.finishing import finish
from dualview.experiments.jobs import Job, Silent
from dualview.experiments.records import RunRecord
from dualview.files.locking import LOCK, HeldError
from dualview.training import EpochMetrics, Watcher
from dualview.training.threads import use_threads

TELL_SECONDS = 0.5
"""Between what a worker tells of the steps it has done."""

STOP_LOOK_SECONDS = 2.0
"""Between its looks at whether it should stop."""

HELD_SECONDS = 60.0
"""How long a worker waits for a folder: one that the scheduler took for dead may still be at it."""


@dataclass(frozen=True)
class Travelling:
    """What a worker must know beside the jobs."""

    token: str
    """Of the call: topic of what is told, and name of the event that says to stop."""
    out: Path
    threads: int
    """Of PyTorch where the jobs come from: sums have an order, whoever takes them."""


class StoppedError(RunError):
    """The call that a worker worked for has ended before its time."""


def do_unit(number: int, blob: bytes, travelling: Travelling) -> list[RunRecord] | Exception:
    """The records of one unit of jobs, or what went wrong; runs on the workers.

    Args:
        number: which of the units in `blob`.
        blob: all units.
        travelling: what goes with them.
    """
    try:
        _see_worker()
        _see_folder(travelling.out)
        unit = _units_of(travelling.token, blob)[number]
        with use_threads(travelling.threads):
            return _finish_when_free(unit, _Telling(travelling.token))
    except (DualviewError, OSError) as error:
        return travels_back(error)


def _see_worker() -> None:
    """See that this process does one job at a time; it may have come later than the call."""
    from distributed import get_worker

    worker = get_worker()
    if worker.state.nthreads != 1:
        raise RunError(
            f"{worker.address}: expected a worker with one thread, got {worker.state.nthreads}. "
            "Repair: dask worker ADDRESS --nthreads 1 --nworkers N"
        )


def _see_folder(out: Path) -> None:
    """See that the folder is the one that the call is for: it is held there."""
    if not (out / LOCK).exists():
        raise RunError(
            f"{out}: a worker finds no such folder of runs. Repair: let every worker see it under "
            "the same path"
        )


_LATEST: dict[str, list[list[Job]]] = {}
"""The jobs of the latest call, so that a worker unpickles them once."""


def _units_of(token: str, blob: bytes) -> list[list[Job]]:
    if token not in _LATEST:
        _LATEST.clear()
        _LATEST[token] = pickle.loads(blob)
    return _LATEST[token]


def _finish_when_free(unit: Sequence[Job], progress: _Telling) -> list[RunRecord]:
    give_up = time.monotonic() + HELD_SECONDS
    while True:
        try:
            return finish(unit, progress)
        except HeldError:
            if time.monotonic() > give_up:
                raise
            time.sleep(1)


class Told:
    """What a worker tells, as messages."""

    STARTED, STEPPED, EPOCH = "started", "stepped", "epoch"

    @staticmethod
    def to(watcher: Watcher, told: Mapping[str, Any]) -> None:
        """Pass a message on to the watcher of its job."""
        what, value = told["what"], told["value"]
        if what == Told.STARTED:
            watcher.started(*value)
        elif what == Told.STEPPED:
            for _ in range(value):
                watcher.stepped()
        else:
            watcher.epoch_done(EpochMetrics(**value))


class _Telling(Silent):
    """Progress that is told to whoever shares out the jobs."""

    def __init__(self, token: str) -> None:
        self.token = token

    def watcher(self, job: Job) -> Watcher:
        """Tells of one job."""
        return _TellingWatcher(self.token, job.name)


class _TellingWatcher:
    """Tells of one job, and stops it where the call has ended."""

    def __init__(self, token: str, job: str) -> None:
        from distributed import Event, get_worker

        self.token = token
        self.job = job
        self.worker = get_worker()
        self.stop = Event(token)
        self.steps = 0
        self._told = self._looked = time.monotonic()

    def _tell(self, what: str, value: Any) -> None:
        self.worker.log_event(self.token, {"job": self.job, "what": what, "value": value})

    def started(self, epochs_done: int, epochs: int, steps_per_epoch: int) -> None:
        """Tell."""
        self._tell(Told.STARTED, [epochs_done, epochs, steps_per_epoch])

    def stepped(self) -> None:
        """Count; tell now and then, and look whether to stop."""
        self.steps += 1
        now = time.monotonic()
        if now - self._told > TELL_SECONDS:
            self._tell_steps(now)
        if now - self._looked > STOP_LOOK_SECONDS:
            self._looked = now
            if self.stop.is_set():
                raise StoppedError(f"{self.job}: stopped, since the call for it has ended")

    def _tell_steps(self, now: float) -> None:
        self._told = now
        self._tell(Told.STEPPED, self.steps)
        self.steps = 0

    def epoch_done(self, metrics: EpochMetrics) -> None:
        """Tell."""
        self._tell_steps(time.monotonic())
        self._tell(Told.EPOCH, asdict(metrics))
