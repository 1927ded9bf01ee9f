"""Arrays as pictures inside a page.

- A sprite holds every picture, each in a margin of one pixel that repeats its edge.
- Photographs of bytes are those bytes; of numbers, their range; larger ones are block means.
- A mask's opacity is its value in 256 steps; what lies outside 0 ... 1 is cut off.
- Signed pictures: white (or grey, of three channels) is 0, red and blue are the largest value and
  its negative; every picture has a scale of its own, and one that is 0 everywhere is white.
- Areas have the colours of their shades, row 0 at the window's top.
"""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from dualview.explorer.images import BLUE, RED, TINTS, WHITE, areas, masks, photographs, signed


def decoded(sprite):
    """Pictures (n, rows, columns, channels) of a sprite, their margins checked and cut off."""
    head, text = sprite.png.split(",")
    assert head == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    sheet = np.array(image.convert("RGB") if image.mode == "P" else image)
    sheet = sheet[..., None] if sheet.ndim == 2 else sheet
    found = []
    for i in range(sprite.count):
        row, column = divmod(i, sprite.across)
        top, left = row * (sprite.height + 2), column * (sprite.width + 2)
        framed = sheet[top : top + sprite.height + 2, left : left + sprite.width + 2]
        inner = framed[1:-1, 1:-1]
        assert inner.shape[:2] == (sprite.height, sprite.width)
        np.testing.assert_array_equal(framed, np.pad(inner, ((1, 1), (1, 1), (0, 0)), mode="edge"))
        found.append(inner)
    return np.stack(found)


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_photographs_of_bytes(channels, count):
    images = np.random.default_rng(0).integers(0, 256, (count, channels, 5, 8), dtype=np.uint8)
    np.testing.assert_array_equal(decoded(photographs(images)), images.transpose(0, 2, 3, 1))


def test_photographs_of_numbers():
    images = np.array([[[[-1.0, 0.0, 3.0]]]])
    np.testing.assert_array_equal(decoded(photographs(images))[0, 0, :, 0], [0, 64, 255])
    assert not decoded(photographs(np.full((1, 1, 2, 2), 7.0))).any()


def test_other_channels_are_averaged():
    images = np.array([[[[0]], [[100]]]], dtype=np.uint8)
    assert decoded(photographs(images)).ravel().tolist() == [50]


def test_large_photographs_shrink():
    image = np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2).repeat(64, 2).repeat(64, 3)
    found = decoded(photographs(image))
    assert found.shape == (1, 64, 64, 1)
    np.testing.assert_array_equal(found[0, ::32, ::32, 0], [[0, 1], [2, 3]])


def test_masks():
    maps = np.random.default_rng(0).uniform(-0.1, 1.1, (3, 4, 6))
    found = decoded(masks(maps))
    assert not found[..., 0].any()
    np.testing.assert_allclose(found[..., 1] / 255, maps.clip(0, 1), atol=0.5 / 255 + 1e-12)


def test_signed_of_one_channel():
    images = np.array([[[[2.0, 0.0, -2.0, 1.0]]], [[[0.0, 0.0, 0.0, -0.1]]], np.zeros((1, 1, 4))])
    found = decoded(signed(images))[:, 0]
    nearest = 32 / 63  # of the steps between white and red, to a half
    middle = tuple(round(w + nearest * (r - w)) for r, w in zip(RED, WHITE, strict=True))
    assert [tuple(pixel) for pixel in found[0, :3].tolist()] == [RED, WHITE, BLUE]
    assert tuple(found[0, 3].tolist()) == middle
    assert tuple(found[1, 3].tolist()) == BLUE
    assert (found[2] == WHITE).all()


def test_signed_of_three_channels():
    found = decoded(signed(np.array([[[[1.0]], [[-1.0]], [[0.0]]]])))
    np.testing.assert_allclose(found[0, 0, 0], [255, 0, 127.5], atol=1)


def test_areas():
    lower = np.array([[1.0, 2.0], [3.0, 2.0], [3.0, 3.0], [1.0, 3.0]])
    found = areas([lower, lower + np.array([0, 1])], [0, 11], (1.0, 3.0, 2.0, 4.0), side=20)
    sheet = Image.open(io.BytesIO(base64.b64decode(found.split(",")[1]))).convert("RGB")
    assert sheet.size == (20, 20)
    assert sheet.getpixel((10, 15)) == TINTS[0]
    assert sheet.getpixel((10, 4)) == TINTS[1]
