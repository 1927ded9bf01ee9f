"""Computes the blocks of a Gram matrix that are missing, with dask: on threads, or on a cluster."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from dualview.cluster import cluster_client, is_address, until_done
from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import PathKernelError
from dualview.path_kernel.gram.block import (
    Job,
    finish_block,
    measured_seconds,
    one_thread,
    rough_seconds,
    try_block,
)
from dualview.path_kernel.gram.store import Block, GramStore
from dualview.progress import Terminal, Unseen

log = logging.getLogger("dualview.path_kernel")


EARLY = 1.0
"""Seconds that a Gram matrix should take, from which on that is said before anything is tried."""


def announce(job: Job, path: Path, scheduler: str, workers: int | None, progress: bool) -> None:
    """Say how long the whole should take, in a moment, by shapes alone, where that is long.

    What follows, the first pair, may take seconds itself: loops are compiled for it.
    """
    count = None if is_address(scheduler) else _workers(workers)
    rows, columns = job.shape
    seconds = rough_seconds(job) * rows * columns / (2 if job.x2 is None else 1)
    if seconds < EARLY:
        return
    told = (
        f"{rows:,} x {columns:,} examples should take {_shared(seconds, count)}, by the network's "
        f"shapes; a first pair is tried"
    )
    if log.isEnabledFor(logging.INFO):
        log.info("%s: %s", path, told)
    elif progress:
        Terminal().status(told)


def compute(
    job: Job, store: GramStore, scheduler: str, workers: int | None, progress: bool
) -> None:
    """Finish the blocks that are missing.

    Args:
        job: what to compute.
        store: where to; this process holds its lock.
        scheduler: "threads", "processes", or the address of a dask scheduler.
        workers: threads or processes; None: one for each core.
        progress: show a bar where somebody looks.

    Raises:
        PathKernelError: the cluster failed; finished blocks are kept.
        OSError: a block could not be written.
    """
    missing, total = store.missing(), len(store.blocks)
    count = min(_workers(workers), len(missing))
    shown = Terminal() if progress else Unseen()
    expected = ""
    told, drawn = log.isEnabledFor(logging.INFO), isinstance(shown, Terminal) and shown.draws
    if missing and (told or drawn):
        expected = _expected(job, store, missing, None if is_address(scheduler) else count)
    if told:
        log.info("%s", ", ".join(filter(None, (_announcement(job, store, missing), expected))))
    if not missing:
        return
    before = total - len(missing)
    tell = _teller(before, total)
    counting = shown.counting(
        total, "Gram matrix", unit="block", done=before, tell=tell, expected=expected
    )
    with counting as advance_by:
        one_more = partial(advance_by, 1)
        advance = one_more if drawn else _first_told(one_more, tell, before, total)
        if scheduler == "threads":
            _on_threads(job, store, missing, count, advance)
        else:
            _check_travels(job.net)
            with cluster_client(scheduler, count, PathKernelError, "scheduler='threads'") as client:
                _on_cluster(job, store, client, advance)


def _teller(before: int, total: int) -> Callable[[int], None]:
    """Writes into the log how many blocks are done, and how long the rest takes at this rate."""
    began = time.monotonic()

    def tell(done: int) -> None:
        left = (time.monotonic() - began) / max(1, done - before) * (total - done)
        rest = f", {_duration(left)} left" if done < total else ""
        log.info("Gram matrix: %d of %d blocks%s", done, total, rest)

    return tell


def _first_told(
    advance: Callable[[], None], tell: Callable[[int], None], before: int, total: int
) -> Callable[[], None]:
    """Tells of the first block too, which is the first that is known of the time left."""
    done = 0

    def advance_and_tell() -> None:
        nonlocal done
        done += 1
        tenth = (before + 1) * 10 // total > before * 10 // total
        if done == 1 and not tenth:
            tell(before + 1)
        advance()

    return advance_and_tell


def _announcement(job: Job, store: GramStore, missing: Sequence[Block]) -> str:
    """How much there is to do, and how large the store gets."""
    rows, columns = store.shape
    size = rows * columns * job.x.element_size() / 1e6
    return (
        f"{store.path}: {rows:,} x {columns:,} examples, {size:,.1f} MB; {len(missing)} of "
        f"{len(store.blocks)} blocks of {store.block} x {store.block} to compute"
    )


def _expected(job: Job, store: GramStore, missing: Sequence[Block], workers: int | None) -> str:
    """How long it should take, measured on some pairs."""
    halves = sum(store.symmetric and i == j for i, j in missing) / 2
    block = math.prod(min(store.block, side) for side in store.shape)
    seconds = measured_seconds(job) * block * (len(missing) - halves)
    return _shared(seconds, workers)


def _shared(seconds: float, workers: int | None) -> str:
    """A time in words, of so many workers; None: of a cluster that is not known."""
    by = f"on {workers} worker{'s' if workers != 1 else ''}" if workers else "of one core"
    return f"{_duration(seconds / (workers or 1))} {by}"


def _workers(workers: int | None) -> int:
    from dask.system import CPU_COUNT  # of this container, not of the machine

    return workers or int(CPU_COUNT)


def _duration(seconds: float) -> str:
    """A time in words.

    >>> _duration(0.2), _duration(74.6)
    ('under a second', 'about 0:01:15')
    """
    return "under a second" if seconds < 1 else f"about {timedelta(seconds=round(seconds))}"


def _on_threads(
    job: Job, store: GramStore, missing: Sequence[Block], workers: int, advance: Callable[[], None]
) -> None:
    import dask
    from dask.callbacks import Callback

    # The job is part of the function, so that dask does not look for tasks inside it.
    task = dask.delayed(partial(finish_block, job=job, store=store), pure=False, traverse=False)
    # The pool's end waits for blocks under way: they write while the lock is held.
    with one_thread(), Callback(posttask=lambda *_: advance()), ThreadPoolExecutor(workers) as pool:
        try:
            dask.compute(*map(task, missing), scheduler="threads", pool=pool)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _check_travels(net: GatedNetwork) -> None:
    """See that the network can be sent to other processes, before dask fails at it at length.

    Raises:
        PathKernelError: a part of it cannot be pickled.
    """
    from distributed.protocol import pickle

    try:
        pickle.dumps(net)
    except Exception as error:  # whatever the parts of a user's network raise
        raise PathKernelError(
            f"the network cannot be sent to other processes ({error}). Repair: "
            "scheduler='threads', or gates and modules that Python can pickle"
        ) from error


def _on_cluster(job: Job, store: GramStore, client: Any, advance: Callable[[], None]) -> None:
    until_done(
        lambda: _one_pass(job, store, client, store.missing(), advance),
        store.missing,
        PathKernelError,
        kept=f"{store.path}: {{}}; finished blocks are kept",
        smaller="a smaller `block`, or workers with more memory",
    )


def _one_pass(
    job: Job, store: GramStore, client: Any, blocks: Sequence[Block], advance: Callable[[], None]
) -> None:
    from distributed import as_completed

    # hash=False: data under the same key as that of a lost pass would be lost as well
    shared = client.scatter(job, broadcast=True, hash=False)
    futures = client.map(try_block, blocks, job=shared, store=store, pure=False)
    try:
        for future in as_completed(futures, loop=client.loop):
            error = future.result()
            if error is not None:
                raise error
            advance()
    finally:
        client.cancel([future for future in futures if not future.done()])
