"""Files that appear whole or not at all, so that a process killed at any moment leaves no half.

A file is filled in a folder of its own beside its target, under a name that nobody can foresee, and
renamed into place. So no two writers share a half-written file, and a link at the target is
replaced, never followed. Who was killed leaves that folder behind; the next writer of the file
sweeps it away.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from dualview.errors import DualviewError, RunError, said
from dualview.files.opening import text_of

PART = ".part"
"""Ending of the folder in which a file is being written."""

FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_MESSAGE = re.compile(
    r"No space left on device|Disk quota exceeded|file write failed|unexpected pos", re.IGNORECASE
)
"""What libraries say that do not pass the system's error on."""

_LONGEST = 100
"""Characters of a file's name that the folder repeats: names end at 255 bytes."""

_PART_NAME = re.compile(r".+\.[a-z0-9_]{8}" + re.escape(PART))

Write = Callable[[Path], object]
"""Fills the file at a path."""


def write_atomically(path: Path, write: Write, *, flush: bool = True) -> None:
    """Let `write` fill a file beside `path`, then rename it to `path` in one step.

    Args:
        path: the file to replace; its folder exists. If it is a link, the link is replaced.
        write: called with the path to write to, on the same file system.
        flush: wait until the disk has the file, so that it is whole after a loss of power too.

    Raises:
        OSError: the file cannot be written; the error names `path`.
        RunError: `path` is a device or a pipe, which stays.
    """
    write_together([(path, write)], flush=flush)


def write_together(files: Iterable[tuple[Path, Write]], *, flush: bool = True) -> None:
    """Write several files, and rename them when the last of them is complete.

    Args:
        files: as `write_atomically` takes them, one by one.
        flush: as `write_atomically` takes it.

    Raises:
        OSError: one cannot be written, and then none is replaced; the error names its path.
    """
    with ExitStack() as folders:
        parts = []
        for path, write in files:
            with _named(path):
                _refuse_device(path)
                sweep(path.parent, path.name)
                part = folders.enter_context(_part_folder(path)) / path.name
                part.touch()
                mode = part.stat().st_mode
                write(part)
                part.chmod(mode)  # some libraries write for the owner alone
                if flush:
                    _flush(part)
            parts.append((part, path))
        for part, path in parts:
            with _named(path):
                part.replace(path)


def _refuse_device(path: Path) -> None:
    """A device or a pipe is no file to replace: nobody who names /dev/null wants it gone."""
    with suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
            raise RunError(
                f"{said(path)}: expected a file to replace, got a device or a pipe. Repair: choose "
                f"another path"
            )


@contextmanager
def refused_by_the_system(
    path: Path,
    wanted: str = "a file to write",
    repair: str = "choose another path",
    refusal: type[DualviewError] = RunError,
) -> Iterator[None]:
    """What the system refuses to write at `path`, as this package's error.

    Args:
        path: of what is written.
        wanted: what it should be, for the message.
        repair: what to do, for the message.
        refusal: the class of the error.

    Raises:
        DualviewError: of that class; it does.
    """
    try:
        yield
    except OSError as error:
        raise refusal(
            f"{said(path)}: expected {wanted}, got {error.strerror or error}. Repair: {repair}"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8; the file appears whole or not at all.

    What is no Unicode, as in the names of some files, is written as a question mark.
    """
    content = text.encode(errors="replace")
    write_atomically(path, lambda part: part.write_bytes(content))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as indented JSON; the file appears whole or not at all."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file, as `write_json` writes it.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no JSON object in UTF-8, or NaN or infinity, which are not JSON.
    """
    try:
        value = json.loads(text_of(path), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("lists or objects nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got a {type(value).__name__}")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"expected finite numbers, got {name}")


def sweep(folder: Path, name: str | None = None) -> None:
    """Delete what writers that were killed left in `folder`; those still at work are spared.

    Args:
        folder: where files were written to.
        name: of the one file whose leftovers go; None: of every file.
    """
    for entry in list(os.scandir(folder)):
        own = name is None or entry.name.startswith(f"{name[:_LONGEST]}.")
        if own and is_part(entry.name) and entry.is_dir(follow_symlinks=False):
            with suppress(OSError):
                handle = _hold(Path(entry.path), wait=False)
                try:
                    shutil.rmtree(entry.path, ignore_errors=True)
                finally:
                    os.close(handle)


def is_part(name: str) -> bool:
    """Whether a writer that was killed may have left an entry of this name.

    >>> is_part("record.json.k2_x81ab.part"), is_part("essay.part")
    (True, False)
    """
    return _PART_NAME.fullmatch(name) is not None


@contextmanager
def _part_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path`, for this process alone, held as long as it writes there."""
    folder, handle = _new_part_folder(path)
    with ExitStack() as at_end:
        at_end.callback(os.close, handle)
        at_end.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def _new_part_folder(path: Path) -> tuple[Path, int]:
    """Made anew where another process swept it before it was held."""
    while True:
        folder = Path(tempfile.mkdtemp(PART, f"{path.name[:_LONGEST]}.", path.parent))
        with suppress(FileNotFoundError):
            handle = _hold(folder)
            if folder.exists():
                return folder, handle
            os.close(handle)


def _hold(folder: Path, *, wait: bool = True) -> int:
    """Hold a lock on the folder itself, until the handle is closed or the process ends.

    Raises:
        BlockingIOError: another process holds it, and this one does not `wait`.
    """
    import fcntl

    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException as error:
        # On a file system without locks nothing is swept, and all else is as ever.
        if not wait or not isinstance(error, OSError):
            os.close(handle)
            raise
    return handle


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of the system name the file that was to be written, not the one beside it, or none.

    A disk that is full says so without a path, and libraries say it in words of their own.
    """
    try:
        yield
    except Exception as error:
        number = getattr(error, "errno", None) or (errno.ENOSPC if is_full(error) else None)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def is_full(error: BaseException) -> bool:
    """Whether a full disk is what an error tells of.

    >>> is_full(OSError(28, "No space left on device")), is_full(ValueError("no"))
    (True, False)
    """
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    library = isinstance(error, RuntimeError) or type(error).__name__ == "SafetensorError"
    return library and FULL_MESSAGE.search(str(error)) is not None


def _flush(path: Path) -> None:
    """Wait until a file is on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # of what cannot be flushed
            raise
    finally:
        os.close(handle)
