"""dask clusters that carry work: worker processes of this machine, or those behind an address.

What a cluster carries is the business of the rooms that use it: blocks of Gram matrices, jobs of
experiments. Work travels as pickles, and nobody but the caller's own cluster is spoken to: worker
processes of this machine listen on its loopback alone, encrypted, with keys made for one call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from dualview.errors import DualviewError, need

PROCESSES = "processes"
"""In place of an address: worker processes of this machine, for one call."""

ATTEMPTS = 3
"""How often in a row a cluster may lose the data and be given it again."""

DEAF_TO_CTRL_C = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
"""Run by worker processes: a terminal sends Ctrl-C to all, and this process ends them itself."""


def is_address(scheduler: str) -> bool:
    """Whether a text is the address of a scheduler.

    >>> is_address("tcp://host:8786"), is_address("processes")
    (True, False)
    """
    return "://" in scheduler


def require_cluster(scheduler: str, feature: str) -> None:
    """Refuse early where a library is missing.

    Raises:
        MissingExtraError: it is; the message names the extra.
    """
    secured = ("cryptography",) if scheduler == PROCESSES else ()
    for library in ("dask", "distributed", *secured):
        need(library, "kernel", feature)


@contextmanager
def cluster_client(
    scheduler: str,
    workers: int,
    error: type[DualviewError],
    otherwise: str,
    *,
    like_here: bool = False,
) -> Iterator[Any]:
    """A dask client: of the address, or of worker processes that live as long as it does.

    Args:
        scheduler: "processes", or an address.
        workers: how many processes; an address has its own.
        error: what to raise.
        otherwise: what to do without a cluster, for the message: "scheduler='threads'".
        like_here: processes have the environment's own number of threads and no bound on memory,
            as this one has; else one thread, and a share of the memory each.

    Raises:
        DualviewError: `error`: no scheduler answers there.
    """
    from distributed import Client

    if scheduler == PROCESSES:
        with (
            _processes(workers, like_here) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler, set_as_default=False)
    except (OSError, ValueError) as raised:
        raise error(
            f"scheduler: no dask scheduler answers at {scheduler!r} ({raised}). Repair: start "
            f"`dask scheduler`, or use {otherwise}"
        ) from raised
    with client:
        yield client


@contextmanager
def _processes(workers: int, like_here: bool) -> Iterator[Any]:
    import dask
    from distributed import LocalCluster
    from distributed.security import Security

    # Pages on the state of the cluster, for anybody: none.
    options: dict[str, Any] = {
        f"distributed.{part}.http.routes": [] for part in ("scheduler", "worker")
    }
    if like_here:
        options["distributed.nanny.pre-spawn-environ"] = {}
    with (
        dask.config.set(options),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=None if like_here else "auto",
            # Others on this machine see the ports; what they send is not listened to.
            host="127.0.0.1",
            security=Security.temporary(),
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            preload=[DEAF_TO_CTRL_C],
            silence_logs=logging.ERROR,
        ) as cluster,
    ):
        yield cluster


def until_done(
    one_pass: Callable[[], None],
    left: Callable[[], Any],
    error: type[DualviewError],
    *,
    kept: str,
    smaller: str,
) -> None:
    """Repeat a pass over what is left until nothing is.

    A pass may lose its data with all workers that hold it; then it begins anew.

    Args:
        one_pass: does what is left; raises what dask raises.
        left: what is left; equal to what it was before where nothing was done meanwhile.
        error: what to raise.
        kept: what a message begins with and what it says is kept: "gram.zarr: {}; finished blocks
            are kept", with what happened in the place of {}.
        smaller: the repair where workers die over one piece of work.

    Raises:
        DualviewError: `error`: workers die over one piece of work, the scheduler does not answer
            any more, or the data were lost `ATTEMPTS` times in a row.
    """
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    attempts, now = ATTEMPTS, left()
    while now:
        try:
            one_pass()
        except KilledWorker as raised:
            what = kept.format(f"workers died over one piece of work ({raised})")
            raise error(f"{what}. Repair: {smaller}; then call again") from raised
        except (CommClosedError, TimeoutError) as raised:
            what = kept.format(f"the dask scheduler does not answer any more ({raised})")
            raise error(f"{what}. Repair: start it, then call again") from raised
        except CancelledError as raised:  # every worker that held the data is gone
            attempts = attempts - 1 if left() == now else ATTEMPTS
            if not attempts:
                what = kept.format(f"the cluster lost the data {ATTEMPTS} times ({raised})")
                repair = "Repair: look at the workers' logs, then call again"
                raise error(f"{what}. {repair}") from raised
        now = left()


def travels_back(raised: Exception) -> Exception:
    """An error, made anew: with its traceback and its causes, not every one survives the way."""
    if isinstance(raised, OSError):
        return OSError(raised.errno, raised.strerror or str(raised))
    return type(raised)(str(raised))
