"""How a run ends before its time: finished epochs are safe, and the process tells why it ended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ENDING = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)
)
"""Signals by which schedulers ask a job to end, some a little before they kill it."""


class Terminated(SystemExit):
    """The process was asked to end by a signal and does so, with the status that shells expect."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(128 + number)


@contextmanager
def terminable() -> Iterator[None]:
    """Within, a signal of `ENDING` raises `Terminated` at once; the epoch under way is lost.

    Where the caller handles or ignores a signal, that stays. Threads other than the main one cannot
    be told.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise Terminated(number)

    unhandled = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in unhandled:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in unhandled:
            signal.signal(number, signal.SIG_DFL)
