"""What a list of jobs will do before any is done: what is finished, what is left, for how long.

How long is measured: of every sort of job a few training steps are taken in a folder of their own,
which is thrown away, and stretched to all its epochs; of every architecture one at least, since
what architectures take beside each other differs from machine to machine. What a job's evaluations
take is reckoned as a third of a step for as many examples (a forward pass without the backward
one). Jobs that cannot be tried yet, since they read the files of others, or for which there was no
time, are reckoned by their `cost`, beside those of the same architecture where there are some.
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import Any

from dualview.arguments import instance_of, number, offering, optional, several, takes
from dualview.experiments.jobs import Job
from dualview.experiments.naming import counted
from dualview.experiments.records import load_record
from dualview.experiments.run_folders import RECORD
from dualview.experiments.selection import is_done
from dualview.experiments.tables import Table
from dualview.files.locking import holder
from dualview.progress import Progress, Unseen
from dualview.training import METRICS, EpochMetrics, SettingsError

TRIAL_SECONDS = 1.0
"""How long steps of one sort of job are taken for, after the first one."""

EVALUATION = 1 / 3
"""Of the time of a training step, for as many examples."""

BY_STEPS, BY_COST = "steps", "cost"


@dataclass(frozen=True)
class ExpectedJob:
    """One job before it is done.

    Attributes:
        name: of the job, as `Sharing.only` takes it.
        title: as progress names it.
        parameters: numbers that it trains.
        needs: jobs that are done before.
        state: "finished", "diverged", "12 of 60 epochs", "process 7 on host ... works on it", or ""
            for one that has not begun.
        seconds: what is left of it on this machine; None: nobody knows.
        basis: "steps" where that was measured, "cost" where it follows from others, "" where
            nothing is left or known.
    """

    name: str
    title: str
    parameters: int
    needs: tuple[str, ...]
    state: str
    seconds: float | None
    basis: str


@takes(
    SettingsError,
    jobs=several(instance_of(Job), "jobs", empty=True),
    budget=number(least=0),
    progress=optional(offering("note")),
)
def outlook(
    jobs: Sequence[Job], *, budget: float = 30.0, progress: Progress | None = None
) -> list[ExpectedJob]:
    """What is left of some jobs, and for how long on this machine; their folders stay as they are.

    Args:
        jobs: of `plan_comparison` or `plan_experiment`.
        budget: seconds that measuring may take, roughly: after it no sort of job is begun, but the
            quickest of each architecture; with 0 nothing is measured.
        progress: told of what is measured.

    Returns:
        One entry for each job, in their order.

    Raises:
        SettingsError: what is given is none of jobs.

    >>> from dualview.experiments import ComparisonSettings, plan_comparison
    >>> settings = ComparisonSettings(kinds=("dnn",), seeds=1, width=8)
    >>> (one,) = outlook(plan_comparison(settings, Path("runs")), budget=0)
    >>> one.name, one.parameters, one.state, one.seconds
    ('dnn-seed0', 898, '', None)
    """
    left = [job for job in jobs if not is_done(job) and job.cost > 0]
    measured = _measured(left, budget, progress or Unseen())
    known = [job for job in left if _sort(job) in measured]
    rates = [(_family(job), measured[_sort(job)] / job.cost) for job in known]
    return [_expected(job, measured, _rate(job, rates)) for job in jobs]


def total_seconds(expected: Iterable[ExpectedJob], workers: int = 1) -> float | None:
    """How long all that is left takes on so many workers: None where nobody knows.

    Jobs that `needs` others may wait longer.
    """
    seconds = [job.seconds for job in expected if job.seconds != 0]
    known = [value for value in seconds if value is not None]
    if len(known) < len(seconds):
        return None
    return max([sum(known) / workers, *known]) if known else 0.0


def outlook_table(expected: Sequence[ExpectedJob], title: str = "Jobs") -> Table:
    """The same as a table, and how its hours were found.

    Args:
        expected: of `outlook`.
        title: of the table.
    """
    rows = [
        (
            job.name,
            f"{job.parameters:,}" if job.parameters else "–",
            _needs(job.needs),
            job.state or "–",
            _hours(job),
        )
        for job in expected
    ]
    return Table(
        "jobs",
        title,
        ("job", "parameters", "needs", "state", "hours left"),
        tuple(rows),
        (_summary(expected), HOURS),
        texts=("needs", "state"),
    )


HOURS = (
    "Hours are of this machine, as it is busy now, one job after the other: measured on a few "
    "training steps of each sort of job, an evaluation reckoned as a third of a step for as many "
    "examples, and what is computed after training left out; with ~ by the job's rough cost, "
    "beside those that were measured."
)


def _summary(expected: Sequence[ExpectedJob]) -> str:
    left = [job for job in expected if job.seconds != 0]
    count = f"{counted(len(expected), 'job')}, {len(left)} left to do"
    seconds = total_seconds(expected)
    if not left:
        return f"{count}."
    return f"{count}: {'nobody knows for how long' if seconds is None else in_words(seconds)}."


def in_words(seconds: float) -> str:
    """A rough time.

    >>> in_words(40), in_words(500), in_words(9000), in_words(400_000)
    ('about 40 s', 'about 8 min', 'about 2.5 h', 'about 4.6 days')
    """
    for size, unit in ((86400, "days"), (3600, "h")):
        if seconds >= 1.5 * size:
            return f"about {seconds / size:.1f} {unit}"
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"


def _needs(names: Sequence[str]) -> str:
    """Those that it needs, or how many there are.

    >>> _needs(["a", "b"]), _needs(["a", "b", "c", "d"])
    ('a b', 'a and 3 more')
    """
    few = len(names) < 4
    return (" ".join(names) if few else f"{names[0]} and {len(names) - 1} more") or "–"


def _hours(job: ExpectedJob) -> str:
    if job.seconds is None:
        return "?"
    if not job.basis:
        return "–"
    hours = job.seconds / 3600
    digits = 3 if hours < 0.1 else 2 if hours < 10 else 0
    return f"{'~' if job.basis == BY_COST else ''}{hours:.{digits}f}"


def _rate(job: Job, rates: Sequence[tuple[Any, float]]) -> float | None:
    """Seconds for a unit of cost: by jobs of the same architecture where some were measured."""
    alike = [rate for family, rate in rates if family == _family(job)]
    found = alike or [rate for _, rate in rates]
    return median(found) if found else None


def _expected(job: Job, measured: Mapping[str, float], rate: float | None) -> ExpectedJob:
    (seconds, basis), state = _whole_time(job, measured, rate), ""
    if is_done(job):
        state = load_record(job.folder / RECORD).status
        seconds, basis = 0.0, ""
    elif owner := holder(job.folder):
        state = f"{owner} works on it"
    elif done := _epochs_done(job.folder):
        epochs = job.config.get("epochs") or done
        state = f"{done} of {epochs} epochs"
        seconds = None if seconds is None else seconds * max(0.0, 1 - done / epochs)
    return ExpectedJob(job.name, job.title, job.parameters, job.needs, state, seconds, basis)


def _whole_time(
    job: Job, measured: Mapping[str, float], rate: float | None
) -> tuple[float | None, str]:
    """Seconds of the whole run, and their basis."""
    if job.cost == 0:  # another one works for it
        return 0.0, ""
    if _sort(job) in measured:
        return measured[_sort(job)], BY_STEPS
    return (None, "") if rate is None else (rate * job.cost, BY_COST)


def _epochs_done(folder: Path) -> int:
    """Epochs that an interrupted call finished; their number is rough for other trainers."""
    path = folder / METRICS
    try:
        return max(0, len(path.read_text(encoding="utf-8").splitlines()) - 1)
    except (OSError, ValueError):
        return 0


# ----------------------------------------------------------------------------------- measuring


def _sort(job: Job) -> str:
    """What jobs have in common that take equally long: all but the seed."""
    return json.dumps({**job.config, "seed": None}, sort_keys=True, default=str)


def _family(job: Job) -> Any:
    """Jobs whose costs can be compared best."""
    return job.config.get("arch")


def _measured(jobs: Iterable[Job], budget: float, progress: Progress) -> dict[str, float]:
    """Sort of job -> seconds of a whole run, until the time is over.

    Of each architecture the quickest first, then the second of each, and so on.
    """
    found: dict[str, float] = {}
    end = time.monotonic() + budget
    by_family: dict[Any, dict[str, Job]] = {}
    for job in sorted(jobs, key=lambda job: job.cost):
        if job.config.get("devices", 1) in (1, "1") and _can_begin(job):  # no other processes
            by_family.setdefault(_family(job), {}).setdefault(_sort(job), job)
    turns = zip_longest(*(sorts.items() for sorts in by_family.values()))
    for place, turn in enumerate(turns if budget else ()):
        for sort, job in (entry for entry in turn if entry is not None):
            if place and time.monotonic() >= end:
                return found
            progress.note(f"Some steps are timed: {job.name}")
            seconds = trial(job)
            if seconds is not None:
                found[sort] = seconds
    return found


def _can_begin(job: Job) -> bool:
    """Whether the jobs whose files it reads are done."""
    return all((job.folder.with_name(name) / RECORD).exists() for name in job.needs)


def trial(job: Job) -> float | None:
    """Seconds that a whole run of a job takes, by its first steps; None: it tells of none."""
    steps = _Steps()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run itself will tell
        where = Path(folder) / job.name
        where.mkdir()
        try:
            job.perform(where, steps)
        except _EnoughError:
            return steps.whole(job.config, began)
        return time.monotonic() - began if steps.times else None


class _EnoughError(Exception):
    """Enough steps were seen."""


class _Steps:
    """Watches the first steps of a run, and ends it."""

    def __init__(self) -> None:
        self.began = 0.0
        self.steps = 1
        self.epochs = 1
        self.times: list[float] = []
        self.pauses: list[float] = []

    def started(self, epochs_done: int, epochs: int, steps_per_epoch: int) -> None:
        """The clock begins."""
        self.began = time.monotonic()
        self.epochs, self.steps = epochs, epochs * steps_per_epoch

    def stepped(self) -> None:
        """One more: the first is left out, since much is made in it that later ones find there."""
        now = time.monotonic()
        self.times.append(now)
        if len(self.times) > 1 and now - self.times[0] >= TRIAL_SECONDS:
            raise _EnoughError

    def epoch_done(self, metrics: EpochMetrics) -> None:
        """What an epoch's end takes, evaluation and files, is no step's time."""
        self.pauses.append(time.monotonic() - self.times[-1])

    def whole(self, config: Mapping[str, Any], began: float) -> float:
        """Seconds of all epochs, from the call to the last of them."""
        stepping = self.times[-1] - self.times[0] - sum(self.pauses)
        training = stepping / (len(self.times) - 1) * self.steps
        if self.pauses:
            ends = median(self.pauses) * self.epochs
        else:
            evaluated = config.get("n_validation", 0) + config.get("n_test", 0)
            ends = EVALUATION * training * evaluated / max(1, config.get("n_train", 1))
        return self.began - began + training + ends
