"""Room on the disk: asked for before anything is trained, and explained where it runs out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dualview.errors import RunError
from dualview.experiments.jobs import Job
from dualview.experiments.selection import is_done
from dualview.files.writing import is_full

MODEL_BYTES = 4
"""Of one parameter in `model.safetensors`, which every run keeps."""
CHECKPOINT_BYTES = 12
"""Of one parameter in a checkpoint: its value and Adam's two means. While a new checkpoint is
written, the last one is still there."""
OTHER_BYTES = 1 << 20
"""Of a run's other files."""


def needed(jobs: Sequence[Job]) -> int:
    """Bytes that the unfinished jobs will want at most; 0 if all are done."""
    open_jobs = [job for job in jobs if not is_done(job)]
    if not open_jobs:
        return 0
    kept = sum(MODEL_BYTES * job.parameters + OTHER_BYTES for job in open_jobs)
    return kept + 2 * CHECKPOINT_BYTES * max(job.parameters for job in open_jobs)


def check(jobs: Sequence[Job], out: Path) -> None:
    """See that the disk has room for the models and checkpoints of the unfinished jobs.

    Raises:
        RunError: it has not.
    """
    expected, free = needed(jobs), shutil.disk_usage(_existing(out)).free
    if free < expected:
        raise RunError(
            f"{out}: expected {size(expected)} free for models and checkpoints, got {size(free)}; "
            "free some, or choose --out on another disk, a smaller --width or fewer --seeds"
        )


@contextmanager
def explained(out: Path) -> Iterator[None]:
    """Turn the many errors of a full disk into one that says what to do.

    Raises:
        RunError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        raise RunError(
            f"{out}: no space left on the disk ({error}). All finished epochs are kept. Repair: "
            "free some space and give the same command again, which goes on from there"
        ) from error


def size(count: int) -> str:
    """Bytes in words.

    >>> size(3 * 2**30), size(1500)
    ('3.0 GiB', '1.5 KiB')
    """
    value = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _existing(path: Path) -> Path:
    """The nearest folder above that is there."""
    return path if path.exists() else _existing(path.absolute().parent)
