"""The store of a Gram matrix on disk: whose it is, which blocks are finished, who is writing.

A zarr (version 3) group with one array, `gram` (n1, n2), in square chunks, one chunk a block. The
group's attributes say what it is the Gram matrix of. `gram/done` has an empty file for each
finished block, `gram/lock` belongs to the process that writes. Blocks that are missing read as NaN.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dualview.errors import PathKernelError, RunError
from dualview.gated_network import GatedNetwork

if TYPE_CHECKING:
    import numpy as np
    import zarr

FORMAT = "dualview gram 1"
ARRAY = "gram"
DONE = "done"
LOCK = "lock"
LIBRARIES = ("dualview", "torch", "numpy", "numba", "zarr")

Block = tuple[int, int]


def identity(
    net: GatedNetwork, x1: Tensor, x2: Tensor | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """What a Gram matrix depends on, as the store's attributes hold it."""
    return {
        "format": FORMAT,
        "fingerprints": {
            "gating network": _fingerprint(net.gating_network),
            "gates": _fingerprint(net.gate_functions),
            "weights network": _fingerprint(net.weights_network),
            "data x": _tensor_fingerprint(x1),
            "data x2": None if x2 is None else _tensor_fingerprint(x2),
        },
        "options": {
            "kind": net.kind,
            "weights_input": net.weights_input,
            "gate_order": None if net.gate_order is None else list(net.gate_order),
            **options,
        },
        "versions": {
            name: version(name) for name in LIBRARIES if importlib.util.find_spec(name) is not None
        },
    }


def _fingerprint(module: nn.Module) -> str:
    """SHA-256 of a network's code, its modules' plain options and its tensors."""
    digest = hashlib.sha256()
    for name, part in module.named_modules():
        digest.update(repr((name, type(part).__name__, getattr(part, "code", None))).encode())
        for key, value in sorted(vars(part).items()):
            # Underscored entries are torch's own; `training` is no option: gates are evaluated.
            if isinstance(value, Tensor):
                digest.update(f"{key} {_tensor_fingerprint(value)}".encode())
            elif not key.startswith("_") and key != "training" and _plain(value):
                digest.update(repr((key, value)).encode())
    for key, value in sorted(module.state_dict().items()):
        digest.update(f"{key} {_tensor_fingerprint(value)}".encode())
    return digest.hexdigest()


def _plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def _tensor_fingerprint(tensor: Tensor) -> str:
    digest = hashlib.sha256(repr((tuple(tensor.shape), str(tensor.dtype))).encode())
    flat = tensor.detach().contiguous().flatten()
    for part in flat.split(1 << 24):  # a copy of a part at most
        digest.update(part.cpu().view(torch.uint8).numpy().data)
    return digest.hexdigest()


class GramStore:
    """A Gram matrix that is being computed, in a folder.

    Args:
        path: the folder.
        shape: (n1, n2).
        block: examples on each side of a block.
        symmetric: the Gram matrix of one set of examples; only i <= j is computed.
    """

    def __init__(self, path: Path, shape: tuple[int, int], block: int, symmetric: bool) -> None:
        self.path = path
        self.shape = shape
        self.block = block
        self.symmetric = symmetric

    @property
    def blocks(self) -> list[Block]:
        """All blocks to compute, row by row."""
        rows, columns = (-(-n // self.block) for n in self.shape)
        return [(i, j) for i in range(rows) for j in range(columns) if not self.symmetric or i <= j]

    def missing(self) -> list[Block]:
        """Blocks that are not finished, row by row."""
        finished = {path.name for path in self._done.iterdir()}
        return [(i, j) for i, j in self.blocks if f"{i}-{j}" not in finished]

    @property
    def _done(self) -> Path:
        return self.path / ARRAY / DONE

    def array(self) -> zarr.Array:
        """The matrix, to read."""
        import zarr

        return zarr.open_array(self.path / ARRAY, mode="r")

    def write(self, block: Block, values: np.ndarray) -> None:
        """Write one block, and its mirror image, and only then mark it as finished."""
        import zarr

        i, j = block
        rows, columns = (slice(k * self.block, (k + 1) * self.block) for k in block)
        try:
            array = zarr.open_array(self.path / ARRAY, mode="r+")
        except FileNotFoundError:
            raise OSError(errno.ENOENT, "a worker finds no store there") from None
        array[rows, columns] = values
        if self.symmetric and i != j:
            array[columns, rows] = values.T
        (self._done / f"{i}-{j}").touch()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store for this process; the operating system lets go when the process ends.

        Raises:
            RunError: another process holds it, or the path cannot be written to.
        """
        import fcntl

        try:
            (self.path / ARRAY).mkdir(parents=True, exist_ok=True)
            stream = (self.path / ARRAY / LOCK).open("a+", encoding="utf-8")
        except OSError as error:
            raise RunError(
                f"{self.path}: expected a folder to write to, got {type(error).__name__}: "
                f"{error.strerror}. Repair: choose another `out`"
            ) from error
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                stream.seek(0)
                raise RunError(
                    f"{self.path}: process {stream.read().strip() or '?'} is writing here. Repair: "
                    "wait for it, or choose another `out`"
                ) from error
            stream.truncate(0)
            stream.write(f"{os.getpid()}\n")
            stream.flush()
            try:
                yield
            finally:
                stream.truncate(0)

    def check(self, expected: Mapping[str, Any]) -> dict[str, str]:
        """See that the path is free, or holds a Gram matrix of exactly this.

        Args:
            expected: what `identity` says.

        Returns:
            Versions of libraries that made the store and are others now, with both.

        Raises:
            RunError: it holds something else; the message says what differs.
        """
        found = self.attributes()
        if found is None:
            return {}
        changes = [
            f"another {name}"
            for name, value in expected["fingerprints"].items()
            if found["fingerprints"].get(name) != value
        ]
        changes += [
            f"{name}={found['options'].get(name)!r}, not {value!r}"
            for name, value in expected["options"].items()
            if found["options"].get(name) != value
        ]
        if changes:
            raise RunError(
                f"{self.path}: holds the Gram matrix of something else: {'; '.join(changes)}. "
                "Repair: choose another `out`, or overwrite=True (--overwrite) to delete this one"
            )
        old, new = found["versions"], expected["versions"]
        return {
            name: f"{old.get(name)} then, {new.get(name)} now"
            for name in {**old, **new}
            if old.get(name) != new.get(name)
        }

    def attributes(self) -> dict[str, Any] | None:
        """What the store says it is; None if the path is free.

        Raises:
            RunError: the path holds something else.
        """
        import zarr

        if not self.path.exists():
            return None
        if not self.path.is_dir():
            raise RunError(
                f"{self.path}: expected a Gram store or a free path, got a file. Repair: choose "
                "another `out`"
            )
        # zarr writes beside a file, then renames; a process killed there leaves a ".partial".
        entries = {path.name for path in self.path.iterdir() if path.suffix != ".partial"}
        inner = self.path / ARRAY
        if entries <= {ARRAY} and (not inner.exists() or self._only_lock(inner)):
            return None
        try:
            attributes = dict(zarr.open_group(self.path, mode="r", zarr_format=3).attrs)
        except (OSError, ValueError, KeyError) as error:
            raise self._foreign(f"what zarr cannot read ({error})") from error
        if attributes.get("format") != FORMAT:
            raise self._foreign(f"a zarr group of format {attributes.get('format')!r}")
        return attributes

    def _only_lock(self, folder: Path) -> bool:
        """A store that was locked, and then killed before anything else."""
        return folder.is_dir() and {path.name for path in folder.iterdir()} <= {LOCK}

    def _foreign(self, got: str) -> RunError:
        return RunError(
            f"{self.path}: expected a Gram store ({FORMAT}) or a free path, got {got}. Repair: "
            "choose another `out`"
        )

    def delete(self) -> None:
        """Delete what the store holds, if it is one; whoever calls holds the lock.

        Raises:
            RunError: the path holds something else, which stays.
        """
        if self.attributes() is None:
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

    def create(self, attributes: Mapping[str, Any], dtype: str) -> None:
        """Write what of the store's frame is not there yet."""
        import zarr

        if not (self.path / "zarr.json").exists():
            zarr.create_group(self.path, attributes=dict(attributes), zarr_format=3)
        if not (self.path / ARRAY / "zarr.json").exists():
            zarr.create_array(
                self.path,
                name=ARRAY,
                shape=self.shape,
                chunks=(self.block, self.block),
                dtype=dtype,
                fill_value=float("nan"),
                compressors=None,  # float noise: nothing to gain
                dimension_names=("x", "x" if self.symmetric else "x2"),
            )
        self._done.mkdir(exist_ok=True)


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
