"""What the room hands out (`Dataset`, `Split`) and what its readers hand in (`Source`, `Examples`).

Axes: images are (n, c, h, w), labels are (n,).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import torch

from dualview.arguments import (
    UnfitError,
    instance_of,
    number,
    require,
    require_fields,
    several,
)
from dualview.errors import DataError

SPLIT_NAMES = ("train", "validation", "test")

SPLIT_ALIASES = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
"""How names of files and folders spell the splits."""

CHUNK = 4096
"""Images at a time where a whole split would need a large temporary copy."""


def _images(value: Any) -> torch.Tensor:
    kinds = (torch.uint8, torch.float16, torch.float32, torch.float64)
    if not _is_plain(value) or value.dtype not in kinds or value.dim() != 4:
        raise UnfitError("a tensor of images (n, c, h, w), uint8 or float32")
    return value


def _labels(value: Any) -> torch.Tensor:
    if not _is_plain(value) or value.dtype != torch.int64 or value.dim() != 1:
        raise UnfitError("a tensor of labels (n,), int64")
    return value


def _is_plain(value: Any) -> TypeGuard[torch.Tensor]:
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and not (value.is_meta or value.is_nested)
    )


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of one split, on the CPU."""

    images: torch.Tensor
    """(n, c, h, w): uint8 pixels 0..255, or float32 features as the source gives them."""
    labels: torch.Tensor
    """(n,) int64, each from 0 to the number of classes - 1."""

    def __post_init__(self) -> None:
        """Refuse what is no split.

        Raises:
            DataError: images or labels of another type or shape.
        """
        require("images", self.images, _images, DataError)
        require("labels", self.labels, _labels, DataError)
        if len(self.labels) != len(self.images):
            raise DataError(
                f"labels: expected one for each of {len(self.images)} images, got "
                f"{len(self.labels)}"
            )

    def at(self, rows: Any) -> Split:
        """Some of the examples, as an index of tensors takes them."""
        return Split(self.images[rows], self.labels[rows])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def pixels(self) -> torch.Tensor:
        """The images as networks are called on them, float32: uint8 ones from 0 to 1.

        >>> Split(torch.tensor([0, 51], dtype=torch.uint8).view(2, 1, 1, 1), torch.arange(2)).pixels
        tensor([[[[0.0000]]],
        <BLANKLINE>
        <BLANKLINE>
                [[[0.2000]]]])
        """
        scale = 1 / 255 if self.images.dtype == torch.uint8 else 1.0
        return self.images.to(torch.float32) * scale


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits of labelled images, none of them empty."""

    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    """Name of each label."""
    mean: tuple[float, ...]
    """Mean of each channel over the train split, in the scale where uint8's 255 is 1."""
    std: tuple[float, ...]
    """Standard deviation (of the population) of each channel, in the same scale."""
    description: str
    """How reports name the data, for example "digits" or "CIFAR-100, own split"."""

    def __post_init__(self) -> None:
        """Refuse what is no data set.

        Raises:
            DataError: a field is not what it should be, or the splits do not fit together.
        """
        numbers = several(number(), "a number for each channel")
        require_fields(
            self,
            DataError,
            **dict.fromkeys(SPLIT_NAMES, instance_of(Split)),
            class_names=several(instance_of(str), "a name for each class"),
            mean=numbers,
            std=numbers,
            description=instance_of(str),
        )
        shape = tuple(self.train.images.shape[1:])
        for name in SPLIT_NAMES:
            own = tuple(getattr(self, name).images.shape[1:])
            if own != shape:
                raise DataError(
                    f"{name}: expected images of shape {shape}, as in the train split, got {own}"
                )
        for name in ("mean", "std"):
            found = len(getattr(self, name))
            if found != shape[0]:
                raise DataError(
                    f"{name}: expected a number for each of {shape[0]} channel(s), got {found}"
                )

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(c, h, w) of one image."""
        c, h, w = self.train.images.shape[1:]
        return c, h, w


@dataclass(frozen=True, eq=False)
class Examples:
    """One split as a reader found it."""

    images: np.ndarray
    """(n, c, h, w), uint8 or float32."""
    labels: np.ndarray
    """(n,) int64."""


@dataclass(frozen=True, eq=False)
class Source:
    """All that a reader found: the splits that exist, before the missing ones are cut."""

    splits: Mapping[str, Examples]
    """Keys from `SPLIT_NAMES`; "train" is always there."""
    class_names: tuple[str, ...]
    formats: frozenset[str] = frozenset()
    """Encodings of the images, such as "JPEG" and "PNG"; empty where none was decoded."""


def channel_statistics(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and population standard deviation of each channel.

    Args:
        images: (n, c, h, w), uint8 or floating point. The statistics of uint8 images are those of
            the values divided by 255, from exact integer sums.

    >>> channel_statistics(torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1))
    ((0.5,), (0.5,))
    """
    if images.dtype == torch.uint8:
        return _pixel_statistics(images)
    axes = (0, 2, 3)
    count = images[:, 0].numel()
    chunks = images.split(CHUNK)
    mean = sum(chunk.double().sum(axes) for chunk in chunks) / count
    centred = ((chunk.double() - mean.reshape(1, -1, 1, 1)) for chunk in chunks)
    variance = sum(chunk.square().sum(axes) for chunk in centred) / count
    return tuple(mean.tolist()), tuple(variance.sqrt().tolist())


def _pixel_statistics(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The same from the histogram of each channel's 256 values, which is exact and quick."""
    values = np.arange(256) / 255
    means, stds = [], []
    for channel in range(images.shape[1]):
        histogram = np.zeros(256, dtype=np.int64)
        for chunk in images[:, channel].split(CHUNK):
            histogram += np.bincount(chunk.numpy().ravel(), minlength=256)
        frequency = histogram / histogram.sum()
        mean = float(frequency @ values)
        means.append(mean)
        stds.append(float(np.sqrt(frequency @ (values - mean) ** 2)))
    return tuple(means), tuple(stds)
