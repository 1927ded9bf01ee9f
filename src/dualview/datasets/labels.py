"""Checks of labels, made before anything is decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dualview.errors import DataError


def checked_labels(values: np.ndarray, class_names: Sequence[str] | None, where: str) -> np.ndarray:
    """(n,) int64 labels, each inside the classes.

    Args:
        values: as read; any integer type, one dimension.
        class_names: name of each class, or None where the source does not name them.
        where: file (and column) for the message.

    Raises:
        DataError: another dimension or type, a negative label, or one past the last class.

    >>> checked_labels(np.array([0, 1], dtype=np.uint8), ("cat", "dog"), "x.npz")
    array([0, 1])
    """
    if values.ndim != 1:
        raise DataError(
            f"{where}: expected one label per example, an array of shape (n,), got {values.shape}; "
            "use class numbers, not one-hot rows"
        )
    if not np.issubdtype(values.dtype, np.integer):
        raise DataError(
            f"{where}: expected integer labels, got {values.dtype}; "
            "store each class as a whole number from 0"
        )
    limit = len(class_names) if class_names is not None else np.iinfo(np.int64).max
    outside = np.flatnonzero((values < 0) | (values >= limit))
    if len(outside):
        row = int(outside[0])
        allowed = f"0..{limit - 1}, the {limit} named classes" if class_names else "0 or more"
        raise DataError(
            f"{where}, row {row}: label {values[row]} is outside the classes (expected {allowed})"
        )
    return values.astype(np.int64)


def numbered_classes(labels: Mapping[str, np.ndarray], where: str) -> tuple[str, ...]:
    """Names "0", "1", ... for a source that does not name its classes.

    Args:
        labels: the checked labels of each split.
        where: file for the message.

    Raises:
        DataError: some number below the largest label is used nowhere, so that the classes are
            not 0..k - 1 (labels that start at 1, or damaged ones).

    >>> numbered_classes({"train": np.array([1, 0]), "test": np.array([2])}, "x.npz")
    ('0', '1', '2')
    """
    used = np.unique(np.concatenate(list(labels.values())))
    for expected, label in enumerate(used.tolist()):
        if label != expected:
            raise DataError(
                f"{where}: expected labels 0..k - 1 with every class in use, but no example has "
                f"label {expected} while some have {label}; number the classes from 0 without gaps"
            )
    return tuple(str(label) for label in used.tolist())
