"""Processes to be killed, forked from one that has already imported everything.

A fresh interpreter imports for seconds; a fork of one starts at once, and is a process of its own
just as much: what it leaves behind when it is killed is the same.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "pytorch_lightning",
        "dualview.experiments.comparison",
        "dualview.experiments.report",
        "dualview.path_kernel",
        "distributed",
    ]
)


@contextmanager
def two_workers() -> Iterator[Any]:
    """A dask cluster of two such processes, with one thread each."""
    import dask
    from distributed import LocalCluster, utils

    utils._forkserver_preload_set = True  # what is preloaded is said above
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit=None,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        ) as cluster,
    ):
        yield cluster


def start(function: Callable[..., Any], *arguments: Any, log: Path | None = None) -> BaseProcess:
    """Call the function in a process of its own; what it prints goes to the file, or nowhere.

    Its exit status is what the function returns.
    """
    process = FORKS.Process(target=_call, args=(log, function, arguments), daemon=True)
    process.start()
    return process


def _call(log: Path | None, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    where = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(where, 1)
    os.dup2(where, 2)
    sys.exit(function(*arguments))


def kill(process: BaseProcess) -> None:
    """Kill it, as `kill -9` does; that it still ran is asserted."""
    assert process.is_alive(), "it ended before it could be killed"
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
