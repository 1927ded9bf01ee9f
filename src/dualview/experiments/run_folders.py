"""Folders of runs: whose they are, and whether they may go on.

A comparison's folder holds one folder a run, `KIND-seedN`, with `config.json` (every option),
`metrics.csv`, `model.safetensors` and `record.json`; `last.ckpt` is there only while the run is
unfinished. `record.json` is written last, so where it is, the run is done.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dualview.errors import RunError
from dualview.files import locking
from dualview.files.writing import is_part, read_json, sweep, write_json
from dualview.training import CHECKPOINT, METRICS, MODEL, TENSORBOARD
from dualview.training.settings import changed_settings

CONFIG = "config.json"
RECORD = "record.json"
STAGE_END = "stage-end.ckpt"
"""The last checkpoint of a stage of training, which the next stage goes on from."""

WRITTEN = (CONFIG, RECORD, METRICS, MODEL, CHECKPOINT, STAGE_END, locking.LOCK)
"""Every file that runs write, but for TensorBoard's; a lock is there while one is worked on."""
LEFT_NETWORK = "network"
"""Folder inside a run's, where it leaves one that `save_pretrained` writes."""
SAVED = (CONFIG, MODEL, "README.md")
"""What `save_pretrained` writes."""
_LOGS = re.compile(r"events\.out\.tfevents\.|hparams\.yaml$")

Config = Mapping[str, Any]


def check_folder(folder: Path, config: Config) -> None:
    """See that `folder` is free, or holds a run with exactly these settings.

    Raises:
        RunError: it holds something else, or a run with other settings; the message names them.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    locking.expect_no_link(folder, "choose another --out")
    if not folder.is_dir():
        raise RunError(f"{folder}: expected a folder of a run, got a file; choose another --out")
    if not (folder / CONFIG).exists():
        names = [path.name for path in folder.iterdir() if not is_part(path.name)]
        foreign = [name for name in names if name != locking.LOCK]
        if foreign:
            raise RunError(
                f"{folder}: expected a free name or the folder of a run, got a folder without "
                f"{CONFIG} that holds {foreign[0]!r}; choose another --out"
            )
        return
    if not is_begun(folder):
        return
    changes = changed_settings(_read_config(folder / CONFIG), config)
    if changes:
        raise RunError(
            f"{folder}: holds a run with other settings: {'; '.join(changes)}. Repair: give the "
            "earlier settings, or another --out, or --overwrite to delete the earlier runs"
        )


def is_begun(folder: Path) -> bool:
    """Whether a run has finished an epoch there; without one there is nothing to keep."""
    return (folder / CHECKPOINT).exists() or (folder / RECORD).exists()


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path}: expected the options of a run, cannot read them ({error}); choose another "
            "--out, or --overwrite to delete the run"
        ) from error


def open_folder(folder: Path, config: Config) -> None:
    """Make the folder with its config, unless an earlier, interrupted run left them.

    Raises:
        RunError: it is a link to elsewhere.
    """
    locking.expect_no_link(folder, "choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    if not is_begun(folder):
        write_json(folder / CONFIG, config)


def close_folder(folder: Path) -> None:
    """Remove what only an unfinished run needs; the record is safe by now."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
    sweep(folder)


def check_deletable(folder: Path) -> None:
    """See that `folder` is free, or holds a run and nothing that a run does not write.

    Raises:
        RunError: it holds something else, which stays.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    locking.expect_no_link(folder, "choose another --out")
    if not (folder / CONFIG).exists():
        check_folder(folder, {})
        return
    foreign = next(_foreign(folder), None) or (not _is_runs_config(folder / CONFIG) and CONFIG)
    if foreign:
        raise RunError(
            f"{folder}: expected a run to delete, got a folder with {foreign!r}, which is not of "
            "a run; all of it stays. Repair: move that away, or choose another --out"
        )


def _foreign(folder: Path) -> Iterator[str]:
    """Names in the folder, or in those of TensorBoard and of a network in it, that no run has."""
    for entry in list(os.scandir(folder)):
        if entry.name == TENSORBOARD and entry.is_dir(follow_symlinks=False):
            logs = (log.name for log in list(os.scandir(entry.path)))
            yield from (f"{TENSORBOARD}/{name}" for name in logs if not _LOGS.match(name))
        elif entry.name == LEFT_NETWORK and entry.is_dir(follow_symlinks=False):
            saved = (file.name for file in list(os.scandir(entry.path)))
            yield from (f"{LEFT_NETWORK}/{name}" for name in saved if name not in SAVED)
        elif entry.is_dir(follow_symlinks=False):
            yield from () if is_part(entry.name) else (entry.name,)
        elif entry.name not in WRITTEN:
            yield entry.name


def _is_runs_config(path: Path) -> bool:
    """Whether a config is that of a run; one that cannot be read may have been."""
    try:
        return "experiment" in read_json(path)
    except (OSError, ValueError):
        return True


def delete_run(folder: Path) -> None:
    """Delete a run, if `folder` holds one.

    Raises:
        RunError: it holds something else, which stays.
    """
    doomed = folder.with_name(f".{folder.name}.deleted")
    for path in (doomed, folder):
        check_deletable(path)
    if doomed.exists():
        shutil.rmtree(doomed)
    if folder.exists():
        folder.rename(doomed)  # in one step: half a run must not pass for a whole one
        shutil.rmtree(doomed)
