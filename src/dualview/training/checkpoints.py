"""Checkpoints: what an interrupted run goes on from, of whichever trainer.

A file is written whole or not at all, and read with `weights_only`, so that one from elsewhere
cannot run code. Its checksums are compared first: PyTorch writes them, as every zip file has them,
and does not look at them when it reads. It says what run it is of, and no other goes on from it.
"""

from __future__ import annotations

import functools
import stat
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from dualview.errors import RunError
from dualview.files.opening import opened
from dualview.files.writing import write_together
from dualview.training.metrics import EpochMetrics
from dualview.training.settings import changed_settings

CURVE = "curve"
JOB = "job"

Values = Mapping[str, Any]


def write_checkpoints(checkpoints: Iterable[tuple[Path, Values, Values]]) -> None:
    """Write checkpoints, all or none.

    Args:
        checkpoints: of each the file, what the run is (plain values, as of `identity`), and its
            state: tensors, numbers, texts, and lists and dicts of them.
    """
    write_together(
        (path, functools.partial(torch.save, {**state, JOB: dict(job)}))
        for path, job, state in checkpoints
    )


def read_checkpoint(path: Path, job: Values) -> dict[str, Any] | None:
    """The state in a checkpoint, on the CPU; None where there is no file.

    Args:
        path: of the file.
        job: what the run is that would go on.

    Raises:
        RunError: the file is no checkpoint, it is damaged, or it is of another run.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ValueError("a link, folder or device")
        _compare_checksums(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        earlier = checkpoint.pop(JOB)
        changes = changed_settings(earlier, job)
    except FileNotFoundError:
        return None
    # torch.load raises whatever its zip reader and unpickler meet.
    except Exception as error:
        raise RunError(
            f"{path}: expected a checkpoint of an interrupted run, got {type(error).__name__}: "
            f"{error}. Repair: delete the file, and the run starts anew"
        ) from error
    if changes:
        raise RunError(
            f"{path}: expected a checkpoint of this run, got one of another: "
            f"{'; '.join(changes)}. Repair: train as then, or in another folder; or delete the "
            "file, and the run starts anew"
        )
    assert isinstance(checkpoint, dict)
    return checkpoint


def _compare_checksums(path: Path) -> None:
    with opened(path) as file, zipfile.ZipFile(file) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("compressed entries, which PyTorch does not write")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"other bytes than were written, in {damaged}")


def curve_of(checkpoint: Values, epochs: int | None, path: Path) -> list[EpochMetrics]:
    """The epochs that a checkpoint's run had completed.

    Args:
        checkpoint: as it was read.
        epochs: of the whole run that goes on.
        path: of its file, for messages.

    Raises:
        RunError: they are more than the whole run has.
    """
    curve = [EpochMetrics(**epoch) for epoch in checkpoint[CURVE]]
    if epochs is not None and len(curve) > epochs:
        raise RunError(
            f"{path}: expected at most the {epochs} epochs of this run, got {len(curve)}. Repair: "
            "ask for as many, or delete the file, and the run starts anew"
        )
    return curve
