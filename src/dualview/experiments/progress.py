"""Progress over jobs: in a terminal two bars and a line a run, elsewhere lines alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from dualview.experiments.records import RunRecord
from dualview.progress import Terminal
from dualview.training import EpochMetrics, Watcher

if TYPE_CHECKING:
    from dualview.experiments.jobs import Job

REDRAW_SECONDS = 0.1
"""Steps between redraws are only counted, so that watching costs next to nothing."""

LINE_SECONDS = 60.0
"""Between lines about a run, where the output is no terminal."""

RUN_FORMAT = "{desc:<22} |{bar:24}| {postfix[0]}"
ALL_FORMAT = "{desc:<22} |{bar:24}| {elapsed} gone, {remaining} left"


class TerminalProgress:
    """Shows how the jobs go, on standard error.

    In a terminal: a bar over the epochs of the current run (of several at once, the one that began
    first), a bar over all runs with the time left (by the jobs' costs), and a line for each
    finished run. Where the output is no terminal: a line when a run begins, one a minute while it
    trains, and that when it is finished.

    Args:
        stream: where to write; standard error if None.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._terminal = Terminal(stream)
        self.bars = self._terminal.draws
        self._all: Any = None
        self._run: Any = None
        self._places: dict[str, int] = {}
        self._work: dict[str, float] = {}
        self._under_way: dict[str, None] = {}

    @contextmanager
    def over(self, jobs: Sequence[Job]) -> Iterator[None]:
        """Around all of them: shows the bars, and takes them away at its end."""
        self._places = {job.name: place for place, job in enumerate(jobs, 1)}
        self._work, self._under_way = {}, {}
        if not self.bars:
            yield
            return
        bar, work = self._terminal.bar, sum(job.cost for job in jobs)
        self._run = bar(1, position=0, bar_format=RUN_FORMAT, postfix=[""])
        self._all = bar(work, position=1, bar_format=ALL_FORMAT)
        try:
            yield
        finally:
            self._run.close()
            self._all.close()

    def skipped(self, job: Job, record: RunRecord) -> None:
        """Count a run of an earlier call; it tells nothing about the time left."""
        if self.bars:
            self._all.initial += job.cost
        self._ended(job, outcome(record) + ", finished earlier")

    def watcher(self, job: Job) -> Watcher:
        """The bar of a run that begins."""
        self._under_way[job.name] = None
        return RunBar(self, self._run, self._all, job) if self.bars else RunLines(self, job)

    def done(self, job: Job, record: RunRecord) -> None:
        """Write the run's line."""
        took = f" in {record.seconds:.1f} s" if record.status == "finished" else ""
        self._ended(job, outcome(record) + took)

    def say(self, job: Job, title: str, text: str) -> None:
        """Write a line about a run, above the bars where there are any."""
        count = len(self._places)
        number = f"[{self._places[job.name]:>{len(str(count))}}/{count}]"
        self._terminal.note(f"{number} {title}: {text}")

    def shows(self, job: Job) -> bool:
        """Whether the run's bar is this one's: of those under way, that of the first."""
        return next(iter(self._under_way), job.name) == job.name

    def counted(self, job: Job, share: float) -> None:
        """Move the bar of all runs to where they are, this one being so far."""
        self._work[job.name] = job.cost * share
        self._all.n = sum(self._work.values())
        at_once = len(self._under_way)
        more = f", {at_once} at once" if at_once > 1 else ""
        ended = len(self._work) - at_once
        title = f"all runs, {ended} of {len(self._places)}{more}"
        self._all.set_description_str(title, refresh=False)

    def _ended(self, job: Job, text: str) -> None:
        self._under_way.pop(job.name, None)
        if self.bars:
            self.counted(job, 1.0)
        self.say(job, job.title, text)


class _RunWatcher:
    """Watches one run of a `TerminalProgress`."""

    def __init__(self, progress: TerminalProgress, job: Job) -> None:
        self.progress = progress
        self.job = job
        self.title = job.watched_as or job.title
        self.epochs = 0
        self.steps = 0
        self.result = ""
        self._shown = 0.0

    def epoch_done(self, metrics: EpochMetrics) -> None:
        """Keep what the epoch ended with, to be shown next time."""
        self.result = f", test {100 * metrics.test_accuracy:.1f} %, loss {metrics.train_loss:.3g}"


class RunLines(_RunWatcher):
    """Where there is no terminal: lines, of which a log does not get too many."""

    steps_per_epoch = 1

    def started(self, epochs_done: int, epochs: int, steps_per_epoch: int) -> None:
        """Say where the run begins."""
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self.steps = epochs_done * steps_per_epoch
        self._shown = time.monotonic()
        self.progress.say(self.job, self.title, beginning(epochs_done, epochs))

    def stepped(self) -> None:
        """Count; say how far it is, once a minute."""
        self.steps += 1
        now = time.monotonic()
        if now - self._shown > LINE_SECONDS:
            self._shown = now
            epoch = f"epoch {self.steps // self.steps_per_epoch}/{self.epochs}"
            self.progress.say(self.job, self.title, epoch + self.result)


class RunBar(_RunWatcher):
    """On the two bars of a `TerminalProgress`."""

    total = 1

    def __init__(self, progress: TerminalProgress, run_bar: Any, all_bar: Any, job: Job) -> None:
        super().__init__(progress, job)
        self.run_bar = run_bar
        self.all_bar = all_bar

    def started(self, epochs_done: int, epochs: int, steps_per_epoch: int) -> None:
        """Begin the run's bar, where it was interrupted."""
        if epochs_done:
            self.progress.say(self.job, self.title, beginning(epochs_done, epochs))
        self.epochs, self.steps = epochs, epochs_done * steps_per_epoch
        self.total = epochs * steps_per_epoch
        # Work of an earlier call tells nothing about the speed of this one.
        self.all_bar.initial += self.job.cost * epochs_done / epochs
        self._draw()

    def stepped(self) -> None:
        """Count; redraw now and then."""
        self.steps += 1
        now = time.monotonic()
        if now - self._shown > REDRAW_SECONDS:
            self._shown = now
            self._draw()

    def _draw(self) -> None:
        if self.progress.shows(self.job):
            if self.run_bar.total != self.total or self.run_bar.desc != self.title:
                self.run_bar.reset(self.total)
                self.run_bar.set_description_str(self.title, refresh=False)
            epoch = self.epochs * self.steps // self.total
            self.run_bar.n = self.steps
            self.run_bar.postfix[0] = f"epoch {epoch}/{self.epochs}{self.result}"
            self.run_bar.refresh()
        self.progress.counted(self.job, self.steps / self.total)
        self.all_bar.refresh()


def beginning(epochs_done: int, epochs: int) -> str:
    """Where a run begins, in a few words."""
    if epochs_done == epochs:
        return f"all of {epochs} epochs were done earlier"
    return f"goes on after epoch {epochs_done} of {epochs}" if epochs_done else f"{epochs} epochs"


def outcome(record: RunRecord) -> str:
    """What became of a run, in a few words."""
    if record.test_accuracy is None:
        return f"{record.status}: {record.message}"
    return f"test accuracy {100 * record.test_accuracy:.2f} %"
