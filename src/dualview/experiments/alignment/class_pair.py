"""Two classes of a data set as a data set of their own, and a few examples of each class."""

from __future__ import annotations

import torch
from torch import Tensor

from dualview.datasets import Dataset, Split
from dualview.errors import DataError


def class_pair(data: Dataset, names: tuple[str, str]) -> Dataset:
    """The examples of two classes, relabelled 0 and 1 in the order of `names`.

    Pixels are only brought to the range from 0 to 1 (mean 0 and standard deviation 1 stand for no
    normalisation), as the authors do it (arXiv 2006.10529).

    Raises:
        DataError: a class is not in the data, twice the same, or empty in a split.

    >>> from dualview.datasets import load
    >>> pair = class_pair(load("digits"), ("4", "7"))
    >>> pair.class_names, pair.description, len(pair.train)
    (('4', '7'), 'digits, 4 against 7', 252)
    """
    for name in names:
        if name not in data.class_names:
            raise DataError(
                f"classes: expected two of {', '.join(data.class_names)} ({data.description}), got "
                f"{name!r}; name classes that are in the data, or take data that has them"
            )
    if names[0] == names[1]:
        raise DataError(f"classes: expected two different ones, got {names[0]!r} twice")
    labels = tuple(data.class_names.index(name) for name in names)
    channels = data.input_shape[0]
    return Dataset(
        train=_pair(data.train, labels, names, "train"),
        validation=_pair(data.validation, labels, names, "validation"),
        test=_pair(data.test, labels, names, "test"),
        class_names=names,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        description=f"{data.description}, {names[0]} against {names[1]}",
    )


def _pair(split: Split, labels: tuple[int, ...], names: tuple[str, str], where: str) -> Split:
    members = [split.labels == label for label in labels]
    for name, chosen in zip(names, members, strict=True):
        if not chosen.any():
            raise DataError(
                f"classes: expected examples of {name!r} in the {where} split, got none; take more "
                "data, or other classes"
            )
    keep = members[0] | members[1]
    return Split(split.images[keep], members[1][keep].long())


def first_of_each(split: Split, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` examples of each class, class by class.

    Returns:
        Images (k count, c, h, w), float64 in the scale where uint8's 255 is 1, and labels
        (k count,).

    Raises:
        DataError: a class has fewer.
    """
    rows = []
    for label in split.labels.unique().tolist():
        found = (split.labels == label).nonzero()[:, 0]
        if len(found) < count:
            raise DataError(
                f"expected at least {count} training examples of each class to measure on, got "
                f"{len(found)} of class {label}; take more data"
            )
        rows.append(found[:count])
    chosen = torch.cat(rows)
    images = split.images[chosen].double()
    return images / 255 if split.images.dtype == torch.uint8 else images, split.labels[chosen]
