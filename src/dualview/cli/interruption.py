"""What a command says when Ctrl-C, or in training SIGTERM, ends it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dualview.training import Terminated, is_main_process


@contextmanager
def told_if_interrupted(what: str) -> Iterator[None]:
    """Around a command's work: tell what is left of it, then let the interruption go on.

    Args:
        what: what is kept, and the command that goes on where there is one.
    """
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        if is_main_process():
            print(f"\nInterrupted; {what}", file=sys.stderr)
        raise
