"""Folders of runs: whose they are, whether they may go on, and who is writing there.

A comparison's folder holds one folder a run, `KIND-seedN`, with `config.json` (every option),
`metrics.csv`, `model.safetensors` and `record.json`; `last.ckpt` is there only while the run is
unfinished. `record.json` is written last, so where it is, the run is done.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dualview.errors import RunError
from dualview.files.writing import PART, read_json, write_json
from dualview.training import CHECKPOINT

CONFIG = "config.json"
RECORD = "record.json"
LOCK = ".lock"

Config = Mapping[str, Any]


def check_folder(folder: Path, config: Config) -> None:
    """See that `folder` is free, or holds a run with exactly these settings.

    Raises:
        RunError: it holds something else, or a run with other settings; the message names them.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RunError(f"{folder}: expected a folder of a run, got a file; choose another --out")
    if not (folder / CONFIG).exists():
        foreign = [path.name for path in folder.iterdir() if not path.name.endswith(PART)]
        if foreign:
            raise RunError(
                f"{folder}: expected a free name or the folder of a run, got a folder without "
                f"{CONFIG} that holds {foreign[0]!r}; choose another --out"
            )
        return
    if not is_begun(folder):
        return
    changes = differences(_read_config(folder / CONFIG), config)
    if changes:
        raise RunError(
            f"{folder}: holds a run with other settings: {'; '.join(changes)}. Repair: give the "
            "earlier settings, or another --out, or --overwrite to delete the earlier runs"
        )


def is_begun(folder: Path) -> bool:
    """Whether a run has finished an epoch there; without one there is nothing to keep."""
    return (folder / CHECKPOINT).exists() or (folder / RECORD).exists()


def differences(earlier: Config, now: Config) -> list[str]:
    """What changed from one config to another, as phrases; empty if nothing did.

    >>> differences({"epochs": 3, "seed": 0}, {"epochs": 4, "seed": 0})
    ['epochs was 3, is now 4']
    >>> differences({"width": 4}, {"width": None})
    ['width was 4, is now the default']
    """
    names = [*earlier, *(name for name in now if name not in earlier)]
    return [
        f"{name} was {_shown(earlier, name)}, is now {_shown(now, name)}"
        for name in names
        if name not in earlier or name not in now or earlier[name] != now[name]
    ]


def _shown(config: Config, name: str) -> str:
    if name not in config:
        return "not set"
    return "the default" if config[name] is None else json.dumps(config[name])


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path}: expected the options of a run, cannot read them ({error}); choose another "
            "--out, or --overwrite to delete the run"
        ) from error


def open_folder(folder: Path, config: Config) -> None:
    """Make the folder with its config, unless an earlier, interrupted run left them."""
    folder.mkdir(parents=True, exist_ok=True)
    if not is_begun(folder):
        write_json(folder / CONFIG, config)


def close_folder(folder: Path) -> None:
    """Remove what only an unfinished run needs; the record is safe by now."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
    for part in folder.glob(f"*{PART}"):
        part.unlink()


def delete_run(folder: Path) -> None:
    """Delete a run, if `folder` holds one.

    Raises:
        RunError: it holds something else, which stays.
    """
    if not (folder / CONFIG).exists():
        check_folder(folder, {})
    doomed = folder.with_name(f".{folder.name}.deleted")
    if doomed.exists():
        shutil.rmtree(doomed)
    if folder.exists():
        folder.rename(doomed)  # in one step: half a run must not pass for a whole one
        shutil.rmtree(doomed)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; the operating system lets go of it when the process ends.

    Raises:
        RunError: another process holds it.
    """
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / LOCK).open("ab+", buffering=0)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunError(
            f"{folder}: expected a folder to write to, got {type(error).__name__}: {reason}; "
            "choose another --out"
        ) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            owner = stream.read().decode(errors="replace").strip() or "?"
            raise RunError(
                f"{folder}: process {owner} is training here; wait for it, or choose another --out"
            ) from error
        stream.truncate(0)
        with suppress(OSError):  # a full disk: the number is a courtesy
            stream.write(f"{os.getpid()}\n".encode())
        yield
