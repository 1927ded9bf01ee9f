"""What a run takes from the environment variables of its process: nothing.

Job schedulers and launchers tell each process which of a group it is, and Lightning believes them,
also where the group is not of this run: an array of jobs, a notebook within one. Here the settings
decide. A run on one device is one process. For several devices, this process starts one more for
each, and these know it by a mark that it leaves them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MAIN = "DUALVIEW_MAIN_PROCESS"
"""Set in a process that has started others for its devices, and so in these: its number."""

LAUNCHERS = (
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)
"""What Lightning tells the processes that it starts, and what launchers tell theirs."""

DEFAULTS = "PL_TRAINER_"
"""Beginning of variables that Lightning takes for options that were not given."""


def is_main_process() -> bool:
    """Whether this process writes and shows; False in those that several devices add to it."""
    added = os.environ.get(MAIN) == str(os.getppid())
    return not added or os.environ.get("LOCAL_RANK", "0") == "0"


def has_started_others() -> bool:
    """Whether this process has started one for each further device; they live as long as it."""
    return os.environ.get(MAIN) == str(os.getpid()) and "LOCAL_RANK" in os.environ


def start_a_group() -> None:
    """Before several devices train: this process is the first of a group of its own.

    A second call, and one in a process that was added, change nothing.
    """
    if is_main_process() and os.environ.get(MAIN) != str(os.getpid()):
        for name in LAUNCHERS:
            os.environ.pop(name, None)
        os.environ[MAIN] = str(os.getpid())


@contextmanager
def settings_alone_decide() -> Iterator[None]:
    """Within, Lightning takes no option and no rank from the environment."""
    from lightning_utilities.core import rank_zero

    rank_zero_only: Any = rank_zero.rank_zero_only

    given = {name: value for name, value in os.environ.items() if name.startswith(DEFAULTS)}
    rank = rank_zero_only.rank
    if is_main_process():
        rank_zero_only.rank = 0
    for name in given:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(given)
        rank_zero_only.rank = rank
