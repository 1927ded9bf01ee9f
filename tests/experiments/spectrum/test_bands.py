"""Properties proved here.

1. Low-pass and high-pass versions add up to the image, and are orthogonal.
2. The low-pass version has no power outside the disc and all of the image's inside it; waves pass
   or are stopped by their number of cycles, in every direction.
3. Filtered data keeps labels and classes, says what it is, and is normalised by its own statistics;
   "all" keeps the pixels.
4. The energy share is that of the power spectrum.
5. A band without anything in it is refused.
6. The radius is an eighth of the shorter side, and 2 at least.
"""

import dataclasses
import math

import pytest
import torch

from dualview.datasets import Split, load
from dualview.errors import DataError
from dualview.experiments.spectrum.bands import (
    disc_radius,
    energy_share,
    high_pass,
    in_band,
    low_pass,
)
from dualview.experiments.spectrum.scores import BAND_NAMES
from tests.training.tiny import tiny_data

RADII = [0.0, 1.0, 1.5, 2.0, 3.7]


def _images(size=(8, 9), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(3, 2, *size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize("size", [(8, 9), (7, 7), (5, 12)])
def test_parts_add_up(radius, size):
    images = _images(size)
    low, high = low_pass(images, radius), high_pass(images, radius)
    torch.testing.assert_close(low + high, images)
    assert (low * high).sum((2, 3)).abs().max() < 1e-12 * images.square().sum()
    torch.testing.assert_close(low_pass(low, radius), low)


@pytest.mark.parametrize("radius", RADII)
def test_power_inside_and_outside(radius):
    images = _images()
    before, after = torch.fft.fft2(images), torch.fft.fft2(low_pass(images, radius))
    for i in range(8):
        for j in range(9):
            inside = math.hypot(min(i, 8 - i), min(j, 9 - j)) <= radius
            expected = before[..., i, j] if inside else torch.zeros_like(before[..., i, j])
            torch.testing.assert_close(after[..., i, j], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("cycles", [(0, 1), (1, 1), (2, 1), (3, 0), (0, 3), (2, -2)])
def test_waves(cycles):
    rows, columns = torch.meshgrid(torch.arange(16) / 16, torch.arange(16) / 16, indexing="ij")
    wave = torch.cos(2 * math.pi * (cycles[0] * rows + cycles[1] * columns) + 0.3)[None, None]
    passed = wave if math.hypot(*cycles) <= 2.5 else torch.zeros_like(wave)
    torch.testing.assert_close(low_pass(wave, 2.5), passed, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("band", BAND_NAMES)
def test_filtered_data(band):
    data = tiny_data()
    filtered = in_band(data, band, 1.0)
    images = data.test.images.double() / 255
    expected = {"all": images, "low": low_pass(images, 1.0), "high": high_pass(images, 1.0)}[band]
    own = filtered.test.images
    scale = 255 if own.dtype == torch.uint8 else 1
    torch.testing.assert_close(own.double() / scale, expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(filtered.test.labels, data.test.labels)
    assert filtered.class_names == data.class_names
    train = filtered.train.images.double() / scale
    assert filtered.mean == pytest.approx([train.mean().item()], abs=1e-6)
    assert filtered.std == pytest.approx([train.std(unbiased=False).item()], rel=1e-5)
    assert filtered.description.startswith(f"stripes, {BAND_NAMES[band]}")
    assert ("radius 1" in filtered.description) == (band != "all")


def test_energy_share():
    data = load("digits")
    power = torch.fft.fft2(data.train.images.double()).abs().square().sum((0, 1))
    power[0, 0] = 0.0
    inside = sum(
        power[i, j]
        for i in range(8)
        for j in range(8)
        if math.hypot(min(i, 8 - i), min(j, 8 - j)) <= 2
    )
    assert energy_share(data, 2.0) == pytest.approx((inside / power.sum()).item())
    assert energy_share(data, 99.0) == pytest.approx(1.0)


def test_empty_band():
    with pytest.raises(DataError, match=r"high-pass band \(radius 99\)"):
        in_band(tiny_data(), "high", 99.0)


@pytest.mark.parametrize(("size", "radius"), [((8, 8), 2.0), ((32, 32), 4.0), ((28, 40), 3.5)])
def test_radius(size, radius):
    split = Split(torch.zeros(1, 1, *size), torch.zeros(1, dtype=torch.long))
    data = dataclasses.replace(tiny_data(), train=split, validation=split, test=split)
    assert disc_radius(data) == radius
