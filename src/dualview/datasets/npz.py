"""NumPy archives: `x` and `y`, or `x_train`, `y_train` and the same for validation and test.

`x` is (n, c, h, w), or (n, h, w) for grey images; uint8 pixels stay so, floating-point features
become float32 and are taken as they are. `y` is (n,), whole numbers from 0. `class_names` (strings)
is optional. Pickled objects are never loaded.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from dualview.datasets.dataset import SPLIT_NAMES, Examples, Source
from dualview.datasets.labels import checked_labels, numbered_classes
from dualview.errors import DataError
from dualview.files.opening import opened, told_by_system
from dualview.files.room import room, said

CHANNELS_LAST = (1, 3, 4)
"""Sizes of a last axis that say "channel" where no other axis does."""


def read_npz(path: Path) -> Source:
    """Read every split of the archive.

    Raises:
        DataError: a damaged file, missing or unpaired arrays, objects, wrong shapes or types,
            values that are not finite, or labels outside the classes.
    """
    arrays = _arrays(path)
    pairs = _pairs(set(arrays), path)
    class_names = _class_names(arrays.get("class_names"), path)
    splits = {}
    for split, (x, y) in pairs.items():
        labels = checked_labels(arrays[y], class_names, f"{path}, array {y!r}")
        images = checked_images(arrays[x], f"{path}, array {x!r}")
        if len(images) != len(labels):
            raise DataError(
                f"{path}: {x!r} has {len(images)} examples and {y!r} has {len(labels)}; "
                "expected one label per image"
            )
        splits[split] = Examples(images, labels)
    if class_names is None:
        class_names = numbered_classes({name: s.labels for name, s in splits.items()}, str(path))
    return Source(splits, class_names)


def checked_images(values: np.ndarray, where: str) -> np.ndarray:
    """(n, c, h, w) uint8 or float32.

    Raises:
        DataError: no examples, another number of axes, channels last, a type that could mean
            pixels or features, or values that are not finite in float32.

    >>> checked_images(np.zeros((2, 8, 8), dtype=np.uint8), "x.npz").shape
    (2, 1, 8, 8)
    """
    if values.ndim not in (3, 4):
        raise DataError(
            f"{where}: expected images of shape (n, c, h, w) or (n, h, w), got {values.shape}; "
            "plain features (n, d) can be stored as (n, 1, 1, d)"
        )
    if 0 in values.shape:
        raise DataError(f"{where}: expected at least one image, got shape {values.shape}")
    if values.ndim == 4 and values.shape[3] in CHANNELS_LAST and values.shape[1] not in (1, 3):
        raise DataError(
            f"{where}: shape {values.shape} looks like (n, h, w, c), expected (n, c, h, w); "
            "store x.transpose(0, 3, 1, 2)"
        )
    images = values if values.ndim == 4 else values[:, None]
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if not np.issubdtype(images.dtype, np.floating):
        raise DataError(
            f"{where}: expected uint8 pixels (0..255) or floating-point features, "
            f"got {images.dtype}; convert with x.astype"
        )
    with np.errstate(over="ignore"):  # what overflows float32 is refused just below
        images = np.ascontiguousarray(images, dtype=np.float32)
    finite = np.isfinite(images).all(axis=(1, 2, 3))
    if not finite.all():
        raise DataError(
            f"{where}, row {int(np.argmin(finite))}: expected finite values, got NaN or infinity "
            "(as float32)"
        )
    return images


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays, once their names and the sizes that their headers tell are fit to be read."""
    try:
        with opened(path) as file, np.load(file, allow_pickle=False) as archive:
            _pairs(set(archive.files), path)
            _expect_room(archive.zip, path)
            return {name: _array(archive, name, path) for name in archive.files}
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"{path}: no memory left to read it; use fewer examples") from error
    except Exception as error:  # damaged zip files raise a dozen unrelated types
        why = told_by_system(error) or f"cannot be read as .npz, it may be cut short: {error}"
        raise DataError(f"{path}: {why}") from error


def _expect_room(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse arrays whose headers tell of more than memory holds, or than their files do."""
    needed = 0
    for member in archive.infolist():
        with archive.open(member) as stream:
            major, _ = np.lib.format.read_magic(stream)
            header = getattr(np.lib.format, f"read_array_header_{min(major, 2)}_0")
            shape, _, dtype = header(stream)
        size = math.prod(shape) * dtype.itemsize
        if not dtype.hasobject and size > member.file_size:
            raise DataError(
                f"{path}, array {member.filename.removesuffix('.npy')!r}: expected {size:,} bytes "
                f"for shape {shape}, found {member.file_size:,}; the file is damaged"
            )
        needed += size if dtype == np.uint8 else 2 * size  # floats become float32, beside them
    free = room()
    if needed > free:
        raise DataError(
            f"{path}: its arrays take {said(needed)} in memory, and {said(free)} are left; use "
            f"fewer examples, or uint8 pixels in place of floats"
        )


def _array(archive: Any, name: str, path: Path) -> np.ndarray:
    try:
        values: np.ndarray = archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise DataError(
            f"{path}, array {name!r}: holds Python objects, which are not loaded because they can "
            "run code; store plain numbers (images of one size in one array)"
        ) from error
    return values


def _pairs(names: set[str], path: Path) -> dict[str, tuple[str, str]]:
    """Names of the arrays of each split that the archive holds."""
    wanted = {split: (f"x_{split}", f"y_{split}") for split in SPLIT_NAMES}
    if names & {"x", "y"}:
        wanted["train"] = ("x", "y")
    pairs = {split: pair for split, pair in wanted.items() if names & set(pair)}
    known = {name for pair in pairs.values() for name in pair} | {"class_names"}
    missing = {name for pair in pairs.values() for name in pair} - names
    if missing or "train" not in pairs or names - known:
        raise DataError(
            f"{path}: expected arrays x and y, or x_train and y_train (also x_validation, "
            "y_validation, x_test, y_test; class_names is optional), "
            f"got {', '.join(sorted(names)) or 'none'}"
        )
    return pairs


def _class_names(values: np.ndarray | None, path: Path) -> tuple[str, ...] | None:
    if values is None:
        return None
    if values.ndim != 1 or values.dtype.kind != "U" or not len(values):
        raise DataError(
            f"{path}, array 'class_names': expected a list of strings, "
            f"got {values.dtype} of shape {values.shape}"
        )
    return tuple(values.tolist())
