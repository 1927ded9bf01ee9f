"""Jobs are done, by this process or by many: `run_jobs`.

What was interrupted, even by `kill -9`, and is started again with the same settings reads back the
finished jobs, goes on with the unfinished ones, and ends (on the CPU) with the numbers of an
uninterrupted call.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dualview.errors import RunError
from dualview.experiments import disk_space, run_folders
from dualview.experiments.carrying import carry
from dualview.experiments.finishing import ELSEWHERE, finish, held
from dualview.experiments.jobs import Job, JobsProgress, Silent
from dualview.experiments.records import RunRecord
from dualview.experiments.selection import ALL, Sharing, chosen, is_done, units
from dualview.files.locking import holder
from dualview.training import is_main_process


def run_jobs(
    jobs: Sequence[Job],
    out: Path,
    *,
    overwrite: bool = False,
    progress: JobsProgress | None = None,
    sharing: Sharing = ALL,
) -> list[RunRecord]:
    """Do all jobs, or what is left of them, in their order; each leaves its record in its folder.

    A run that diverges is recorded as such, and the others go on. A job may read the files of
    earlier ones that it `needs`. Each job's folder is held by whoever works there, so that several
    calls with different jobs share a folder `out`.

    Args:
        jobs: with folders inside `out`, each its own.
        out: the folder.
        overwrite: delete earlier runs of the same names first.
        progress: shows how it goes; see `experiments.progress.TerminalProgress`.
        sharing: which of the jobs, and who does them.

    Returns:
        The records, in the order of the jobs.

    Raises:
        RunError: another process works on one of the jobs, a folder holds runs with other settings,
            or there is no room; nothing was trained. Or the room ran out on the way; the same call
            goes on once there is some.
        SettingsError: `sharing` names no job, or asks for what cannot be shared.
        KeyboardInterrupt: the user interrupted; call again to go on.
    """
    out, progress = Path(out), progress or Silent()
    jobs = chosen(jobs, sharing.only)
    if is_main_process():
        _prepare(jobs, overwrite)
    for job in jobs:
        run_folders.check_folder(job.folder, job.config)
    disk_space.check(jobs, out)
    with progress.over(jobs), disk_space.explained(out):
        if sharing.scheduler is None:
            return [record for unit in units(jobs) for record in finish(unit, progress)]
        return carry(jobs, out, sharing.scheduler, sharing.workers, progress)


def _prepare(jobs: Sequence[Job], overwrite: bool) -> None:
    """See that nobody works on the jobs, and delete earlier runs if so asked."""
    for job in jobs:
        if not is_done(job) and (owner := holder(job.folder)):
            raise RunError(
                f"{job.folder}: {owner} is training here. Repair: wait for it, or {ELSEWHERE}"
            )
    if not overwrite:
        return
    for job in jobs:
        run_folders.check_deletable(job.folder)
    for job in jobs:
        if job.folder.is_dir():
            with held(job):
                run_folders.delete_run(job.folder)
