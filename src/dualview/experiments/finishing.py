"""One piece of work, from whatever an earlier call left to the records: `finish`.

Whoever does a job holds its folder meanwhile, so that many processes, on many machines that share a
disk, can work in one folder of runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack

from dualview.experiments import run_folders
from dualview.experiments.jobs import Job, JobsProgress
from dualview.experiments.records import RunRecord, load_record, save_record
from dualview.experiments.selection import is_done
from dualview.files import locking
from dualview.training import is_main_process

ELSEWHERE = "choose another --out"


def held(job: Job) -> AbstractContextManager[None]:
    """Hold the job's folder for this process.

    Raises:
        HeldError: another process holds it.
        RunError: it cannot be held.
    """
    return locking.locked(job.folder, "is training here", ELSEWHERE, kept=False)


def finish(unit: Sequence[Job], progress: JobsProgress) -> list[RunRecord]:
    """The records of jobs that belong together: read back where one is done, else worked for.

    The main process holds their folders; those that help it share them.

    Raises:
        HeldError: another process works on one of them; nothing was done.
    """
    with ExitStack() as folders:
        if is_main_process():
            for job in unit:
                if not is_done(job):
                    folders.enter_context(held(job))
        return [_finish_one(job, progress) for job in unit]


def _finish_one(job: Job, progress: JobsProgress) -> RunRecord:
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
