"""Which jobs one call does, and which of them belong together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from dualview.arguments import optional, require_fields, several, text_value, whole
from dualview.cluster import PROCESSES, is_address
from dualview.errors import did_you_mean
from dualview.experiments.jobs import Job
from dualview.experiments.run_folders import RECORD
from dualview.training import SettingsError

MOST_WORKERS = 1024


@dataclass(frozen=True)
class Sharing:
    """Which jobs one call does, and who does them; what is None stands for the plainest.

    Attributes:
        only: names of jobs, as a dry run lists them, or patterns such as "dlgn-*"; the earlier jobs
            that they need are done as well. Default: all jobs.
        scheduler: who does them: "processes" of this machine, or the address of a dask scheduler
            such as tcp://host:8786, whose workers see the folder under the same path. Default: this
            process, one after the other.
        workers: processes. Default: so many that their threads fill the cores.
    """

    only: tuple[str, ...] | None = None
    scheduler: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        require_fields(
            self,
            SettingsError,
            only=optional(several(text_value, "names of jobs, or patterns of them")),
            scheduler=optional(text_value),
            workers=optional(whole(1, MOST_WORKERS)),
        )
        if self.scheduler not in (None, PROCESSES) and not is_address(self.scheduler):
            raise SettingsError(
                "scheduler: expected 'processes' or an address such as 'tcp://host:8786', got "
                f"{self.scheduler!r}{did_you_mean(self.scheduler, [PROCESSES])}"
            )
        if self.workers is not None and self.scheduler != PROCESSES:
            raise SettingsError(
                f"workers: expected none but with scheduler='processes', got {self.workers} with "
                f"{self.scheduler!r}. Repair: leave it out, or scheduler='processes'"
            )


ALL = Sharing()
"""Every job, in this process."""


def chosen(jobs: Sequence[Job], only: Sequence[str] | None) -> list[Job]:
    """The jobs of these names, and unfinished ones that they need, in the order of all.

    Raises:
        SettingsError: a name or pattern is of no job.
    """
    if only is None:
        return list(jobs)
    names = [job.name for job in jobs]
    for pattern in only:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise SettingsError(
                f"only: expected names of jobs, such as {names[0] if names else 'none'!r}, got "
                f"{pattern!r}{did_you_mean(pattern, names)}"
            )
    wanted = {name for name in names if any(fnmatchcase(name, pattern) for pattern in only)}
    left = {job.name: job for job in jobs if not is_done(job)}
    ahead = [left[name] for name in wanted if name in left]
    while ahead:
        job = ahead.pop()
        mates = (mate.name for mate in left.values() if mate.together == job.together != "")
        found = {name for name in (*job.needs, *mates) if name in left} - wanted
        ahead += [left[name] for name in found]
        wanted |= found
    return [job for job in jobs if job.name in wanted]


def is_done(job: Job) -> bool:
    """Whether its record is there, which is written last."""
    return (job.folder / RECORD).exists()


def units(jobs: Iterable[Job]) -> Iterator[tuple[Job, ...]]:
    """The jobs, in their order, those that one process does together as one.

    Together are those whose `together` says so and that stand side by side.
    """
    unit: list[Job] = []
    for job in jobs:
        if unit and not (job.together and job.together == unit[0].together):
            yield tuple(unit)
            unit = []
        unit.append(job)
    if unit:
        yield tuple(unit)
