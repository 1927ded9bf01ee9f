"""One process at a time in a folder, and folders that are the caller's own.

What lies in a folder that others may write to is nobody's order: a lock that is a link, a pipe or a
file of another kind is refused, so that nothing is emptied and nothing outside is written to.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dualview.errors import RunError

LOCK = ".lock"
"""In a folder: whose it is at the moment; empty when it is nobody's."""

_AS_IT_LIES = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Not what a link leads to, and without waiting for the other end of a pipe."""

_OWNER = re.compile(r"\s*|\d+( \S+)?\n?")
"""What such a file may hold: a process's number, and the machine it runs on."""


@contextmanager
def locked(folder: Path, doing: str, repair: str, name: str = LOCK) -> Iterator[None]:
    """Hold `folder` for this process; the operating system lets go of it when the process ends.

    Args:
        folder: made if it is missing.
        doing: what whoever holds it does there, for messages: "is training here".
        repair: what to do where it cannot be held, for messages: "choose another --out".
        name: of the lock file in it.

    Raises:
        RunError: another process holds it, it cannot be written to, or what is there under the
            lock's name is no lock, and stays.
    """
    import fcntl

    path = folder / name
    with ExitStack() as opened:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            expect_no_link(path, repair)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | _AS_IT_LIES, 0o666)
            opened.callback(os.close, handle)
        except (OSError, ValueError) as error:  # ValueError: a name with a null character
            reason = error.strerror if isinstance(error, OSError) else error
            raise RunError(
                f"{folder}: expected a folder to write to, got {type(error).__name__}: {reason}. "
                f"Repair: {repair}"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"{folder}: {_owner(handle)} {doing}. Repair: wait for it, or {repair}"
            ) from error
        if not _is_lock(handle):
            raise RunError(
                f"{path}: expected a lock of dualview's, got another file, which stays. "
                f"Repair: {repair}"
            )
        os.truncate(handle, 0)
        with suppress(OSError):  # a full disk: the name is a courtesy
            os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        try:
            yield
        finally:
            os.truncate(handle, 0)


def make_own_folder(path: Path, repair: str) -> Path:
    """Make a folder inside one that was given, unless it is there; a link is not followed.

    Raises:
        RunError: a link has its name.
        OSError: it cannot be made.
    """
    expect_no_link(path, repair)
    path.mkdir(parents=True, exist_ok=True)
    return path


def expect_no_link(path: Path, repair: str) -> None:
    """See that a path inside a folder that was given does not lead out of it.

    Raises:
        RunError: it is a link.
    """
    if path.is_symlink():
        raise RunError(
            f"{path}: expected a file or folder of dualview's own, got a link to "
            f"{path.readlink()}, which is not followed. Repair: {repair}"
        )


def touch(path: Path) -> None:
    """Make an empty file; one that is there stays as it is.

    Raises:
        OSError: it cannot be made, or a link has its name, which is not followed.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | _AS_IT_LIES, 0o666))


def _is_lock(handle: int) -> bool:
    """A plain file that has this one name, lest it be somebody's elsewhere, and a lock's content.

    A pipe has no content to read from its start, and other devices are not asked.
    """
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        return False
    return _OWNER.fullmatch(_content(handle)) is not None


def _content(handle: int) -> str:
    try:
        return os.pread(handle, 1000, 0).decode(errors="replace")
    except OSError:
        return ""


def _owner(handle: int) -> str:
    """Who holds a lock, in words."""
    number, _, host = _content(handle).strip().partition(" ")
    return f"process {number or '?'}" + (f" on {host}" if host else "")
