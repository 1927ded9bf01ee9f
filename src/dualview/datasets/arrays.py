"""`from_arrays`: tensors or arrays of one's own -> a `Dataset` with three splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dualview.arguments import (
    UnfitError,
    fraction,
    instance_of,
    optional,
    seed_number,
    several,
    takes,
    words,
)
from dualview.datasets.dataset import Dataset, Examples, Source
from dualview.datasets.labels import checked_labels, numbered_classes
from dualview.datasets.npz import checked_images
from dualview.datasets.splits import completed
from dualview.errors import DataError

ImagesAndLabels = tuple[Any, Any]
"""Images and labels, tensors or arrays."""


def _share_or_pair(value: Any) -> Any:
    """A check as `dualview.arguments` has them."""
    if isinstance(value, tuple) and len(value) == 2:
        return value
    try:
        return fraction(value)
    except UnfitError:
        raise UnfitError("a share between 0 and 1, or images and labels as (x, y)") from None


def _plain(value: Any) -> Any:
    """Likewise: numbers as an array of their own type."""
    wanted = "a tensor or array of numbers"
    try:
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu()
            value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        found = np.asarray(value)
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        raise UnfitError(wanted) from None  # sparse, without numbers, or rows of several lengths
    if found.dtype.kind not in "biuf":
        raise UnfitError(wanted)
    return found


@takes(
    DataError,
    x=_plain,
    y=_plain,
    validation=_share_or_pair,
    test=_share_or_pair,
    class_names=optional(several(instance_of(str), "a name for each class")),
    name=words,
    seed=seed_number,
)
def from_arrays(
    x: Any,
    y: Any,
    *,
    validation: float | ImagesAndLabels = 0.1,
    test: float | ImagesAndLabels = 0.2,
    class_names: Sequence[str] | None = None,
    name: str = "own data",
    seed: int = 0,
) -> Dataset:
    """Labelled images of one's own, in memory, with the train split's mean and deviation.

    Args:
        x: train images (n, c, h, w) or (n, h, w), a tensor or an array: uint8 pixels from 0 to 255,
            or floating-point numbers, which are taken as they are. A table (n, d) is (n, 1, 1, d).
        y: (n,) labels 0 ... k - 1.
        validation: images and labels, or the share of the train split that is cut for it,
            stratified by class.
        test: the same for the test split.
        class_names: name of each label. Default: its number.
        name: how reports name the data.
        seed: of the cuts.

    Raises:
        DataError: images or labels of other shapes or types, values that are not finite, labels
            outside the classes, or too few examples to cut.

    >>> x, y = torch.rand(90, 3, 8, 8), torch.arange(90) % 3
    >>> data = from_arrays(x, y, class_names=["cat", "dog", "owl"], name="pets")
    >>> data.input_shape, len(data.train), len(data.validation), len(data.test)
    ((3, 8, 8), 63, 9, 18)
    """
    given = {"train": (x, y), "validation": validation, "test": test}
    pairs = {split: pair for split, pair in given.items() if isinstance(pair, tuple)}
    shares = {split: share for split, share in given.items() if not isinstance(share, tuple)}
    splits = {split: _examples(split, *pair, class_names) for split, pair in pairs.items()}
    if class_names is None:
        class_names = numbered_classes({n: part.labels for n, part in splits.items()}, name)
    return completed(Source(splits, tuple(class_names)), shares, seed, name, name)


def _examples(split: str, x: Any, y: Any, class_names: Sequence[str] | None) -> Examples:
    try:
        images, labels = np.array(_plain(x)), _plain(y)  # memory of its own
    except UnfitError as unfit:
        raise DataError(f"{split}: expected {unfit.expected} for images and labels") from None
    images = checked_images(images, f"x of {split}")
    labels = checked_labels(labels, class_names, f"y of {split}")
    if len(images) != len(labels):
        raise DataError(
            f"{split}: expected a label for each of {len(images)} images, got {len(labels)}"
        )
    return Examples(images, labels)
