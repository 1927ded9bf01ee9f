"""The store of a Gram matrix on disk: which blocks are finished, and who is writing.

A zarr (version 3) group with one array, `gram` (n1, n2), in square chunks, one chunk a block, each
with a checksum (CRC-32C), so that whoever reads a damaged chunk is told. The group's attributes say
what it is the Gram matrix of. `gram/done` has an empty file for each finished block, `gram/lock`
belongs to the process that writes. Blocks that are missing read as NaN.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualview.errors import PathKernelError, RunError
from dualview.files.locking import expect_no_link, locked, touch
from dualview.path_kernel.gram.identity import FORMAT, differences, version_changes

if TYPE_CHECKING:
    import numpy as np
    import zarr
    from zarr.storage import MemoryStore

ARRAY = "gram"
DONE = "done"
LOCK = "lock"
PART = ".partial"
"""Ending of what zarr writes before it renames; a process that is killed leaves it behind."""
REPAIR = "choose another `out`"
CHECKSUM_BYTES = 4
"""Behind each chunk."""

Block = tuple[int, int]


@dataclass(frozen=True, eq=False)
class GramStore:
    """A Gram matrix that is being computed, in a folder.

    Args:
        path: the folder.
        shape: (n1, n2).
        block: examples on each side of a block.
        symmetric: the Gram matrix of one set of examples; only i <= j is computed.
        dtype: of the array, "float32" or "float64".
    """

    path: Path
    shape: tuple[int, int]
    block: int
    symmetric: bool
    dtype: str

    @property
    def blocks(self) -> list[Block]:
        """All blocks to compute, row by row."""
        rows, columns = (-(-n // self.block) for n in self.shape)
        return [(i, j) for i in range(rows) for j in range(columns) if not self.symmetric or i <= j]

    def slices(self, block: Block) -> tuple[slice, slice]:
        """Rows and columns of a block; at the edges they end beyond the matrix, as slices may."""
        rows, columns = (slice(k * self.block, (k + 1) * self.block) for k in block)
        return rows, columns

    def missing(self) -> list[Block]:
        """Blocks that are not finished, row by row: not marked, or a chunk of theirs is not whole.

        A mark is made after its chunks are on disk; that they still are is looked at nevertheless,
        since stores are copied and moved, not always whole.
        """
        marked = {path.name for path in self._done.iterdir()}
        size = self.block**2 * (4 if self.dtype == "float32" else 8) + CHECKSUM_BYTES
        return [
            block
            for block in self.blocks
            if f"{block[0]}-{block[1]}" not in marked
            or any(_size(chunk) != size for chunk in self._chunks(block))
        ]

    def unmark_damaged(self) -> None:
        """Take the mark from blocks whose chunks have other bytes than were written.

        Reads the whole store; whoever calls holds the lock.
        """
        array = self.array()
        for i, j in set(self.blocks).difference(self.missing()):
            rows, columns = self.slices((i, j))
            try:
                array[rows, columns]
                if self.symmetric:
                    array[columns, rows]
            except ValueError:  # the checksum's
                (self._done / f"{i}-{j}").unlink()

    def _chunks(self, block: Block) -> list[Path]:
        """The files of a block and of its mirror image."""
        i, j = block
        places = [(i, j), (j, i)] if self.symmetric and i != j else [(i, j)]
        return [self.path / ARRAY / "c" / str(row) / str(column) for row, column in places]

    @property
    def _done(self) -> Path:
        return self.path / ARRAY / DONE

    def array(self) -> zarr.Array:
        """The matrix, to read."""
        import zarr

        return zarr.open_array(self.path / ARRAY, mode="r")

    def check_array(self) -> None:
        """See that the array is one that `create` makes.

        Raises:
            RunError: its description is damaged, or is that of another array.
        """
        from zarr.storage import MemoryStore

        try:
            found = self.array().metadata
        except Exception as error:  # whatever zarr meets in a damaged file
            raise self._damaged(f"what zarr cannot read ({_named(error)})") from error
        expected = self._make(MemoryStore()).metadata
        if str(found) != str(expected):  # as text, in which NaN equals NaN
            raise self._damaged("the description of another array")

    def _damaged(self, got: str) -> RunError:
        return RunError(
            f"{self.path / ARRAY / 'zarr.json'}: expected an array ({self.shape[0]}, "
            f"{self.shape[1]}) of {self.dtype} in blocks of {self.block}, got {got}. Repair: "
            "overwrite=True (--overwrite) to delete the store and compute it again"
        )

    def write(self, block: Block, values: np.ndarray) -> None:
        """Write one block, and its mirror image, and only then mark it as finished."""
        import zarr

        i, j = block
        rows, columns = self.slices(block)
        try:
            array = zarr.open_array(self.path / ARRAY, mode="r+")
        except FileNotFoundError:
            raise OSError(errno.ENOENT, "a worker finds no store there") from None
        array[rows, columns] = values
        if self.symmetric and i != j:
            array[columns, rows] = values.T
        for chunk in self._chunks(block):
            _flush(chunk)
            _flush(chunk.parent)
        touch(self._done / f"{i}-{j}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store for this process; the operating system lets go when the process ends.

        Raises:
            RunError: another process holds it, the path cannot be written to, or there is a link.
        """
        expect_no_link(self.path / ARRAY, REPAIR)
        with locked(self.path / ARRAY, "is writing here", REPAIR, LOCK):
            yield

    def check(self, expected: Mapping[str, Any]) -> dict[str, str]:
        """See that the path is free, or holds a Gram matrix of exactly this.

        Args:
            expected: what `identity` says.

        Returns:
            Versions of libraries that made the store and are others now, with both.

        Raises:
            RunError: it holds something else; the message says what differs.
        """
        found = stored_attributes(self.path)
        if found is None:
            return {}
        changes = differences(found, expected)
        if changes:
            raise RunError(
                f"{self.path}: holds the Gram matrix of something else: {'; '.join(changes)}. "
                "Repair: choose another `out`, or overwrite=True (--overwrite) to delete this one"
            )
        return version_changes(found, expected)

    def delete(self) -> None:
        """Delete what the store holds, if it is one; whoever calls holds the lock.

        Raises:
            RunError: the path holds something else, which stays.
        """
        if stored_attributes(self.path) is None:
            return
        # Marks first, in one step: a block must not pass for finished when its chunk is gone. What
        # says that this is a Gram store goes last.
        if self._done.exists():
            doomed = self._done.with_name(f"{DONE}.deleted")
            shutil.rmtree(doomed, ignore_errors=True)
            self._done.rename(doomed)
        for path in (self.path / ARRAY).iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()
        (self.path / "zarr.json").unlink()

    def create(self, attributes: Mapping[str, Any]) -> None:
        """Write what of the store's frame is not there yet; sweep away what a killed process left.

        Blocks that were damaged since they were written count as missing again. Whoever calls holds
        the lock.

        Raises:
            RunError: the array that is there is damaged.
        """
        import zarr

        for part in self.path.rglob(f"*{PART}"):
            part.unlink()
        if not (self.path / "zarr.json").exists():
            zarr.create_group(self.path, attributes=dict(attributes), zarr_format=3)
        if not (self.path / ARRAY / "zarr.json").exists():
            self._make(self.path)
        self.check_array()
        self._done.mkdir(exist_ok=True)
        self.unmark_damaged()

    def _make(self, where: Path | MemoryStore) -> zarr.Array:
        import zarr
        from zarr.codecs import Crc32cCodec

        return zarr.create_array(
            where,
            name=ARRAY,
            shape=self.shape,
            chunks=(self.block, self.block),
            dtype=self.dtype,
            fill_value=float("nan"),
            compressors=[Crc32cCodec()],  # no compression: float noise
            dimension_names=("x", "x" if self.symmetric else "x2"),
        )


def stored_attributes(path: Path) -> dict[str, Any] | None:
    """What the store at `path` says it is; None if the path is free.

    Raises:
        RunError: the path holds something else.
    """
    import zarr

    if not path.exists():
        return None
    if not path.is_dir():
        raise _foreign(path, "a file")
    for odd in _odd_entries(path):
        raise _foreign(path, f"one with {Path(odd).relative_to(path)}, a link or device")
    entries = {entry.name for entry in path.iterdir() if entry.suffix != PART}
    if entries <= {ARRAY} and _only_lock(path / ARRAY):
        return None
    try:
        attributes = dict(zarr.open_group(path, mode="r", zarr_format=3).attrs)
    except Exception as error:  # whatever zarr meets in a damaged file
        raise _foreign(path, f"what zarr cannot read ({_named(error)})") from error
    if attributes.get("format") != FORMAT:
        raise _foreign(path, f"a zarr group of format {attributes.get('format')!r}")
    forms = ("fingerprints", "options", "versions")
    if not all(isinstance(attributes.get(name), dict) for name in forms):
        raise _foreign(path, f"one without its {', '.join(forms)}")
    return attributes


def _odd_entries(folder: Path | str) -> Iterator[str]:
    """What is neither a folder nor a file, at any depth: a link would lead out of the store."""
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            yield from _odd_entries(entry.path)
        elif not entry.is_file(follow_symlinks=False):
            yield entry.path


def _only_lock(folder: Path) -> bool:
    """Whether there is no more than what a store has that was locked, and then killed."""
    if not folder.exists():
        return True
    return folder.is_dir() and {entry.name for entry in folder.iterdir()} <= {LOCK}


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _foreign(path: Path, got: str) -> RunError:
    return RunError(
        f"{path}: expected a Gram store ({FORMAT}) or a free path, got {got}. Repair: choose "
        "another `out`"
    )


def cannot_write(store: GramStore, error: OSError) -> PathKernelError:
    """The error for a disk that is full, or that went away."""
    total = len(store.blocks)
    try:
        finished = f"{total - len(store.missing())} of {total} blocks are finished and kept"
    except OSError:
        finished = "no block is finished"
    repair = "make room" if error.errno == errno.ENOSPC else "let every worker write to this folder"
    return PathKernelError(
        f"{store.path}: cannot write ({error.strerror or error}); {finished}. Repair: {repair}, "
        "then call again with the same arguments to go on"
    )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _flush(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk, as a loss of power needs."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
