"""Low-pass and high-pass versions of images: a disc of frequencies, and all the others.

The disc holds the frequencies of at most `radius` cycles an image, in each channel. What it lets
through and what it stops add up to the image.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dualview.datasets import Dataset, Split
from dualview.datasets.dataset import CHUNK, channel_statistics
from dualview.errors import DataError
from dualview.experiments.spectrum.filters import frequency_radius
from dualview.experiments.spectrum.scores import BAND_NAMES

LEAST_RADIUS = 2.0


def disc_radius(data: Dataset) -> float:
    """The disc's radius for images of this size: an eighth of the shorter side, and 2 at least.

    >>> from dualview.datasets import load
    >>> disc_radius(load("digits"))
    2.0
    """
    return max(LEAST_RADIUS, min(data.input_shape[1:]) / 8)


def low_pass(images: Tensor, radius: float) -> Tensor:
    """What the disc lets through of (n, c, h, w) floating-point images."""
    height, width = images.shape[2:]
    mask = (frequency_radius(height, width) <= radius).to(images)
    return torch.fft.ifft2(torch.fft.fft2(images) * mask).real


def high_pass(images: Tensor, radius: float) -> Tensor:
    """What the disc stops."""
    return images - low_pass(images, radius)


def in_band(data: Dataset, band: str, radius: float) -> Dataset:
    """The data with its images filtered, as float32 in the scale where uint8's 255 is 1.

    Band "all" is the data as it is, under a description of its own.

    Raises:
        DataError: the band holds nothing, because the images are too small or all the same.
    """
    if band == "all":
        return replace(data, description=band_description(data, band, radius))
    splits = {
        name: Split(_filtered(split.images, band, radius), split.labels)
        for name, split in (
            ("train", data.train),
            ("validation", data.validation),
            ("test", data.test),
        )
    }
    mean, std = channel_statistics(splits["train"].images)
    if min(std) < 1e-6:
        raise DataError(
            f"{data.description}: expected images that differ in the {BAND_NAMES[band]} band "
            f"(radius {radius:g}), got a channel without any; take larger images"
        )
    return Dataset(
        **splits,
        class_names=data.class_names,
        mean=mean,
        std=std,
        description=band_description(data, band, radius),
    )


def band_description(data: Dataset, band: str, radius: float) -> str:
    """How records name the data: "digits, low-pass (radius 2)"."""
    return f"{data.description}, {BAND_NAMES[band]}" + (
        "" if band == "all" else f" (radius {radius:g})"
    )


def _filtered(images: Tensor, band: str, radius: float) -> Tensor:
    """Chunk by chunk, since transforms are complex and large."""
    passes = {"low": low_pass, "high": high_pass}[band]
    out = torch.empty(images.shape, dtype=torch.float32)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        out[start : start + CHUNK] = passes(_pixels(chunk), radius)
    return out


def _pixels(images: Tensor) -> Tensor:
    """As float64, in the scale where uint8's 255 is 1."""
    return images.double() / 255 if images.dtype == torch.uint8 else images.double()


def energy_share(data: Dataset, radius: float) -> float:
    """Share of the train images' variance (about their mean pixel) that lies in the disc."""
    low = total = 0.0
    for chunk in data.train.images.split(CHUNK):
        pixels = _pixels(chunk)
        centred = pixels - pixels.mean((2, 3), keepdim=True)
        total += float(centred.square().sum())
        low += float(low_pass(centred, radius).square().sum())
    return low / total if total else 0.0
