"""Computes the blocks of a Gram matrix that are missing, with dask: on threads, or on a cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import PathKernelError
from dualview.path_kernel.gram.block import (
    Job,
    finish_block,
    measured_seconds,
    one_thread,
    try_block,
)
from dualview.path_kernel.gram.store import Block, GramStore
from dualview.progress import Terminal, Unseen

log = logging.getLogger("dualview.path_kernel")

ATTEMPTS = 3
"""How often in a row a cluster may lose the data and be given it again."""

DEAF_TO_CTRL_C = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
"""Run by worker processes: a terminal sends Ctrl-C to all, and this process ends them itself."""


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
    from dask.system import CPU_COUNT  # of this container, not of the machine

    missing, total = store.missing(), len(store.blocks)
    count = min(workers or CPU_COUNT, len(missing))
    if log.isEnabledFor(logging.INFO):  # measuring takes a moment
        log.info("%s", _announcement(job, store, missing, None if "://" in scheduler else count))
    if not missing:
        return

    def tell(count: int) -> None:
        log.info("Gram matrix: %d of %d blocks", count, total)

    shown = Terminal() if progress else Unseen()
    counting = shown.counting(
        total, "Gram matrix", unit="block", done=total - len(missing), tell=tell
    )
    with counting as advance_by:
        advance = partial(advance_by, 1)
        if scheduler == "threads":
            _on_threads(job, store, missing, count, advance)
        else:
            _check_travels(job.net)
            with _client(scheduler, count) as client:
                _on_cluster(job, store, client, advance)


def _announcement(job: Job, store: GramStore, missing: Sequence[Block], workers: int | None) -> str:
    """How much there is to do, how long it should take, and how large the store gets."""
    rows, columns = store.shape
    size = rows * columns * job.x.element_size() / 1e6
    text = (
        f"{store.path}: {rows:,} x {columns:,} examples, {size:,.1f} MB; {len(missing)} of "
        f"{len(store.blocks)} blocks of {store.block} x {store.block} to compute"
    )
    if not missing:
        return text
    halves = sum(store.symmetric and i == j for i, j in missing) / 2
    block = min(store.block, rows) * min(store.block, columns)
    seconds = measured_seconds(job) * block * (len(missing) - halves)
    by = f"on {workers} worker{'s' if workers != 1 else ''}" if workers else "of one core"
    return f"{text}, {_duration(seconds / (workers or 1))} {by}"


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
    with (
        one_thread(),
        Callback(posttask=lambda *_: advance()),
        ThreadPoolExecutor(workers) as pool,
    ):
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
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    attempts, left = ATTEMPTS, store.missing()
    while left:
        try:
            _one_pass(job, store, client, left, advance)
        except KilledWorker as error:
            raise PathKernelError(
                f"{store.path}: workers died over one block ({error}); finished blocks are kept. "
                "Repair: a smaller `block`, or workers with more memory; then call again"
            ) from error
        except (CommClosedError, TimeoutError) as error:
            raise PathKernelError(
                f"{store.path}: the dask scheduler does not answer any more ({error}); finished "
                "blocks are kept. Repair: start it, then call again"
            ) from error
        except CancelledError as error:  # every worker that held the data is gone
            attempts = attempts - 1 if store.missing() == left else ATTEMPTS
            if not attempts:
                raise PathKernelError(
                    f"{store.path}: the cluster lost the data {ATTEMPTS} times ({error}); finished "
                    "blocks are kept. Repair: look at the workers' logs, then call again"
                ) from error
        left = store.missing()


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


@contextmanager
def _client(scheduler: str, workers: int) -> Iterator[Any]:
    """A dask client: of the address, or of a cluster of processes that lives as long as it."""
    from distributed import Client, LocalCluster
    from distributed.security import Security

    if scheduler != "processes":
        try:
            client = Client(scheduler, set_as_default=False)
        except (OSError, ValueError) as error:
            raise PathKernelError(
                f"scheduler: no dask scheduler answers at {scheduler!r} ({error}). Repair: start "
                "`dask scheduler`, or use scheduler='threads'"
            ) from error
        with client:
            yield client
        return
    import dask

    with (
        # Pages on the state of the cluster, for anybody: none.
        dask.config.set(
            {f"distributed.{part}.http.routes": [] for part in ("scheduler", "worker")}
        ),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            # Others on this machine see the ports; what they send is not listened to.
            host="127.0.0.1",
            security=Security.temporary(),
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            preload=[DEAF_TO_CTRL_C],
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client
