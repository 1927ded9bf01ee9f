"""Jobs carried to other processes by dask, one a worker: `carry`.

Jobs travel once to every worker, as they were planned here: with the threads and the precision of
this machine, and their data. Folders, checkpoints and records are files that all workers see, and a
job's folder is held by the worker that does it. So a worker that is lost, even by `kill -9`, loses
no finished epoch: dask gives its job to another one, which goes on from the checkpoint, and ends
with the numbers of a run that was not interrupted.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from dualview.cluster import cluster_client, require_cluster, until_done
from dualview.errors import RunError
from dualview.experiments.carried import Told, Travelling, do_unit
from dualview.experiments.jobs import Job, JobsProgress
from dualview.experiments.records import RunRecord, load_record
from dualview.experiments.run_folders import RECORD
from dualview.experiments.selection import is_done, units
from dualview.files.locking import locked
from dualview.files.user_code import own_modules
from dualview.training import SettingsError, Watcher
from dualview.training.interruption import terminable

LOOK_SECONDS = 5.0
"""Between looks at who is there, where nothing is told."""

WAIT_SECONDS = 600.0
"""How long the first worker is waited for: batch systems take their time."""

STOP_SECONDS = 20.0
"""How long workers that were told to stop are waited for: they look after every step."""


def carry(
    jobs: Sequence[Job], out: Path, scheduler: str, workers: int | None, progress: JobsProgress
) -> list[RunRecord]:
    """Do the jobs, or what is left of them, on the workers of a cluster.

    Args:
        jobs: checked; none of them is worked on.
        out: their folder; held by this process while it shares them out.
        scheduler: "processes", or an address.
        workers: processes; None: so many that their threads fill the cores.
        progress: told here, in this thread, of all that happens there.

    Returns:
        The records, in the order of the jobs.

    Raises:
        MissingExtraError: dask is not installed.
        RunError: the cluster failed, or a job did; finished epochs are kept.
        SettingsError: a job cannot be carried, or workers have several threads.
    """
    records: dict[str, RunRecord] = {}
    for job in jobs:
        if is_done(job):
            records[job.name] = load_record(job.folder / RECORD)
            progress.skipped(job, records[job.name])
    left = [unit for unit in units(jobs) if any(job.name not in records for job in unit)]
    if left:
        require_cluster(scheduler, "a scheduler")
        count = processes_for(left, workers)
        blob = _pickled(left)
        with (
            terminable(),
            locked(out, "shares out the jobs of this folder", "choose another --out", kept=False),
            cluster_client(scheduler, count, RunError, "no scheduler", like_here=True) as client,
        ):
            _see_workers(client, scheduler)
            _Carrying(client, left, out, blob, records, progress).done()
    return [records[job.name] for job in jobs]


def processes_for(left: Sequence[Sequence[Job]], workers: int | None) -> int:
    """How many processes: one for each core, or for as many cores as a job has threads.

    Args:
        left: units of jobs.
        workers: that were asked for.

    Raises:
        SettingsError: a job wants several devices.
    """
    from dask.system import CPU_COUNT  # of this container, not of the machine

    for unit in left:
        for job in unit:
            if job.config.get("devices", 1) not in (1, "1"):
                raise SettingsError(
                    f"devices: expected 1 with a scheduler, got {job.config['devices']} for "
                    f"{job.name}. Repair: leave one of them out"
                )
    threads = max(job.config.get("threads") or 1 for unit in left for job in unit)
    return min(workers or max(1, CPU_COUNT // threads), len(left))


def _pickled(left: Sequence[Sequence[Job]]) -> bytes:
    """The jobs as they travel, all in one: what they share is sent once."""
    import cloudpickle

    for module in own_modules():  # files that workers cannot import by name travel themselves
        if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
            cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps([list(unit) for unit in left]))
    except Exception as error:  # whatever the parts of a user's experiment raise
        raise SettingsError(
            f"the jobs cannot be sent to other processes ({error}). Repair: leave out the "
            "scheduler, or plan jobs of what Python can pickle"
        ) from error


def _see_workers(client: Any, scheduler: str) -> None:
    """See that there are workers, and that each does one job at a time.

    Several threads of one would share what PyTorch keeps for a process.
    """
    try:
        client.wait_for_workers(1, timeout=WAIT_SECONDS)
    except TimeoutError as error:
        raise RunError(
            f"scheduler: expected workers at {scheduler}, got none in {WAIT_SECONDS:.0f} s. "
            f"Repair: dask worker {scheduler} --nthreads 1 --nworkers N"
        ) from error
    for address, threads in client.nthreads().items():
        if threads != 1:
            raise SettingsError(
                f"scheduler: expected workers with one thread each, got {threads} at {address}. "
                f"Repair: dask worker {scheduler} --nthreads 1 --nworkers N"
            )


@dataclass
class _Carrying:
    """The jobs of one call while they are done elsewhere."""

    client: Any
    units: Sequence[Sequence[Job]]
    out: Path
    blob: bytes
    records: dict[str, RunRecord]
    progress: JobsProgress
    watchers: dict[str, Watcher] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.jobs = {job.name: job for unit in self.units for job in unit}

    def done(self) -> None:
        """Until all jobs are done."""
        until_done(
            self._one_pass,
            self._left,
            RunError,
            kept=f"{self.out}: {{}}; finished epochs are kept",
            smaller="look at the workers' logs, give them more memory",
        )

    def _left(self) -> list[int]:
        return [k for k, unit in enumerate(self.units) if not self._is_done(unit)]

    def _is_done(self, unit: Sequence[Job]) -> bool:
        return all(job.name in self.records for job in unit)

    def _one_pass(self) -> None:
        """Hand each unit that is not done to a worker that is free, until all have ended."""
        token = uuid4().hex
        happened: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        waiting = self._left()

        def hear(told: Mapping[str, Any]) -> None:  # called in a thread of dask's
            happened.put(partial(self._pass_on, told))

        def ended(number: int, future: Any) -> None:  # likewise
            happened.put(partial(self._ended, number, future))

        with _told_of(self.client, token, hear), _stopping(self.client, token) as under_way:
            submit = self._submitter(token)
            while waiting or under_way:
                # No more than there are workers: what waits goes to whoever is free first.
                free = max(1, len(self.client.nthreads())) - len(under_way)
                for number in [k for k in waiting if self._is_ready(k)][: max(0, free)]:
                    waiting.remove(number)
                    under_way[number] = submit(number)
                    under_way[number].add_done_callback(partial(ended, number))
                with suppress(queue.Empty):  # workers come and go
                    happened.get(timeout=LOOK_SECONDS)()
                for number in [k for k in under_way if self._is_done(self.units[k])]:
                    del under_way[number]

    def _is_ready(self, number: int) -> bool:
        needs = {name for job in self.units[number] for name in job.needs}
        return all(name in self.records for name in needs if name in self.jobs)

    def _submitter(self, token: str) -> Callable[[int], Any]:
        """Send the jobs to the workers; number of a unit -> its future."""
        import torch

        # hash=False: data under the same key as that of a lost pass would be lost as well
        shared = self.client.scatter(self.blob, broadcast=True, hash=False)
        travelling = Travelling(token, self.out.absolute(), torch.get_num_threads())
        return lambda number: self.client.submit(do_unit, number, shared, travelling, pure=False)

    def _ended(self, number: int, future: Any) -> None:
        """A unit is done, here or by an error."""
        if future.status in ("cancelled", "lost"):
            raise CancelledError(str(future.key))
        found = future.result()
        if isinstance(found, Exception):
            raise found
        for job, record in zip(self.units[number], found, strict=True):
            self.records[job.name] = record
            self.watchers.pop(job.name, None)
            self.progress.done(job, record)

    def _pass_on(self, told: Mapping[str, Any]) -> None:
        name = told["job"]
        if name in self.records:  # late: it is done
            return
        if told["what"] == Told.STARTED or name not in self.watchers:
            self.watchers[name] = self.progress.watcher(self.jobs[name])
        Told.to(self.watchers[name], told)


@contextmanager
def _told_of(client: Any, topic: str, hear: Callable[[Mapping[str, Any]], None]) -> Iterator[None]:
    """Within, what workers tell under a topic is heard."""
    client.subscribe_topic(topic, lambda event: hear(event[1]))
    try:
        yield
    finally:
        with suppress(OSError, ValueError, TimeoutError):
            client.unsubscribe_topic(topic)


@contextmanager
def _stopping(client: Any, token: str) -> Iterator[dict[int, Any]]:
    """Around futures: what goes on when this ends before its time is told to stop."""
    from distributed import Event, wait

    futures: dict[int, Any] = {}
    try:
        yield futures
    except BaseException:
        # The cluster may be gone, or work on for longer than anybody waits.
        with suppress(OSError, TimeoutError, CancelledError), client.as_current():
            Event(token).set()
            pending = [future for future in futures.values() if not future.done()]
            wait(pending, timeout=STOP_SECONDS)
        raise
