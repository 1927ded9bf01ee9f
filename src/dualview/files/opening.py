"""Files opened for reading: a plain file of a size that can be meant, or a refusal at once.

A named pipe in place of a file would be waited for without end, a device read without end. So each
reader of this package opens its file here, or has it looked at here before a library opens it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EFBIG, EINVAL
from io import BufferedReader
from pathlib import Path

MOST_TEXT = 256 * 2**20
"""Bytes of a text (JSON, YAML) that is read at once; the largest record here takes a hundredth."""

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFDIR: "a folder",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextmanager
def opened(path: str | Path) -> Iterator[BufferedReader]:
    """Open a plain file, or a link to one, to read its bytes.

    Raises:
        OSError: it cannot be opened, or is a named pipe, a folder, a socket or a device.

    >>> import tempfile
    >>> try:
    ...     with opened(tempfile.gettempdir()):
    ...         pass
    ... except OSError as error:
    ...     print(error.strerror)
    expected a file, got a folder
    """
    # Without O_NONBLOCK, opening a named pipe waits for somebody who writes to it.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "something else")
            raise OSError(EINVAL, f"expected a file, got {kind}", str(path))
        file = os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise
    with file:
        yield file


def expect_file(path: str | Path) -> None:
    """See that a library that is given the path will find a plain file there.

    Raises:
        OSError: as `opened`.
    """
    with opened(path):
        pass


def told_by_system(error: Exception) -> str | None:
    """What the system, or `opened`, says of a file; None: the error is about what is in it.

    >>> told_by_system(FileNotFoundError(2, "No such file or directory", "a.npz"))
    'No such file or directory'
    >>> told_by_system(OSError("Not a Parquet file"))
    """
    return error.strerror if isinstance(error, OSError) and error.errno is not None else None


def bytes_of(path: str | Path, most: int = MOST_TEXT) -> bytes:
    """The content of a plain file.

    Raises:
        OSError: as `opened`, or it has more than `most` bytes.
    """
    with opened(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(EFBIG, f"expected at most {most:,} bytes, got more", str(path))
    return content


def text_of(path: str | Path, most: int = MOST_TEXT) -> str:
    """The content of a plain file in UTF-8.

    Raises:
        OSError: as `bytes_of`.
        UnicodeDecodeError: it is not UTF-8.
    """
    return bytes_of(path, most).decode("utf-8")
