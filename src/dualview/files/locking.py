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
from datetime import UTC, datetime
from pathlib import Path

from dualview.errors import RunError

LOCK = ".lock"
"""In a folder: whose it is at the moment; empty when it is nobody's."""

_AS_IT_LIES = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Not what a link leads to, and without waiting for the other end of a pipe."""

_OWNER = re.compile(r"\s*|\d+( \S+( [-+:TZ\d]+)?)?\n?")
"""What such a file may hold: a process's number, the machine it runs on, and since when."""


class HeldError(RunError):
    """Another process holds the folder; the message names it, its machine and since when."""


@contextmanager
def locked(
    folder: Path, doing: str, repair: str, name: str = LOCK, *, kept: bool = True
) -> Iterator[None]:
    """Hold `folder` for this process; the operating system lets go of it when the process ends.

    Args:
        folder: made if it is missing.
        doing: what whoever holds it does there, for messages: "is training here".
        repair: what to do where it cannot be held, for messages: "choose another --out".
        name: of the lock file in it.
        kept: whether the empty file stays, for the next one.

    Raises:
        HeldError: another process holds it.
        RunError: it cannot be written to, or what is there under the lock's name is no lock, and
            stays.
    """
    path = folder / name
    with ExitStack() as opened:
        handle = _held(folder, name, doing, repair)
        opened.callback(os.close, handle)
        if not _is_lock(handle):
            raise RunError(
                f"{path}: expected a lock of dualview's, got another file, which stays. "
                f"Repair: {repair}"
            )
        os.truncate(handle, 0)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with suppress(OSError):  # a full disk: the name is a courtesy
            os.pwrite(handle, f"{os.getpid()} {socket.gethostname()} {now}\n".encode(), 0)
        try:
            yield
        finally:
            os.truncate(handle, 0)
            with suppress(OSError):
                # While it is still held: who opened it meanwhile sees that it is gone.
                if not kept and os.path.samestat(path.lstat(), os.fstat(handle)):
                    path.unlink()


def _held(folder: Path, name: str, doing: str, repair: str) -> int:
    """The lock file, opened and held; made anew where who held it took it away meanwhile."""
    import fcntl

    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            expect_no_link(folder / name, repair)
            handle = os.open(folder / name, os.O_RDWR | os.O_CREAT | _AS_IT_LIES, 0o666)
        except (OSError, ValueError) as error:  # ValueError: a name with a null character
            reason = error.strerror if isinstance(error, OSError) else error
            raise RunError(
                f"{folder}: expected a folder to write to, got {type(error).__name__}: {reason}. "
                f"Repair: {repair}"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException as error:
            owner = _owner(handle)
            os.close(handle)
            if not isinstance(error, BlockingIOError):
                raise
            raise HeldError(
                f"{folder}: {owner} {doing}. Repair: wait for it, or {repair}"
            ) from error
        if os.fstat(handle).st_nlink:
            return handle
        os.close(handle)


def holder(folder: Path) -> str | None:
    """Who holds `folder`, in words; None: nobody does, or nothing can be read there."""
    import fcntl

    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | _AS_IT_LIES)
    except (OSError, ValueError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _owner(handle)
    finally:
        os.close(handle)
    return None


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
    number, host, since, *_ = *_content(handle).split(), "", "", ""
    place, time = f" on {host}" if host else "", f", since {since}," if since else ""
    return f"process {number or '?'}{place}{time}"
