"""Arrays as pictures inside a page: sprites, many small pictures of one size in one PNG.

Three kinds: photographs (pixels as they are), signed maps (red above 0, blue below, white 0; of
three channels: colours on grey), and masks, whose opacity is the value, so that the page's own ink
draws them. Values are quantised to 256 steps, signed ones in red and blue to 127.
Arrays are (n, channels, rows, columns).
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualview.errors import needs
from dualview.explorer.explanations.budget import shrink_factor, shrunk

RED, WHITE, BLUE = (178, 24, 43), (247, 247, 247), (33, 102, 172)
"""Of signed maps: the ends and the middle of the scale RdBu."""
TONES = 63
"""Between white and either end: a map's pixel is a byte, and a page has many maps and palettes."""
SIDE = 64
"""Longest side of a picture; longer ones are averaged down."""
TINTS = (
    (169, 201, 238),
    (244, 199, 161),
    (181, 220, 176),
    (230, 179, 200),
    (217, 211, 171),
    (198, 189, 227),
    (168, 220, 214),
    (240, 182, 176),
    (207, 207, 207),
    (223, 227, 160),
)
"""Of areas, one a class."""


@dataclass(frozen=True)
class Sprite:
    """Pictures side by side in one PNG, each in a margin of one pixel that repeats its edge.

    The margin is not to be shown: at odd magnifications a browser draws a little of it.

    Attributes:
        png: as a data URL.
        count: how many pictures.
        across: how many beside one another.
        width: of one, in pixels.
        height: of one.
    """

    png: str
    count: int
    across: int
    width: int
    height: int


def photographs(images: np.ndarray) -> Sprite:
    """Images (n, c, rows, columns) as they are: bytes, or numbers scaled to their own range.

    One and three channels are drawn; of others, the mean.
    """
    pixels = _small(images)
    if images.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = (pixels - low) * (255 / (high - low if high > low else 1))
    return _sprite(_bytes(_drawable(pixels)))


def signed(images: np.ndarray, *, shared: bool = False) -> Sprite:
    """Signed pictures (n, c, rows, columns), each by its own largest absolute value.

    Or all by the largest of any, so that they can be compared.
    """
    values = _drawable(_small(images))
    largest = np.abs(values).max(axis=None if shared else (1, 2, 3), keepdims=True)
    relative = values / np.where(largest > 0, largest, 1)  # -1 ... 1
    if relative.shape[1] == 3:
        return _sprite(_bytes(127.5 + 127.5 * relative))
    steps = np.rint(TONES * relative).astype(np.int16) + TONES
    return _sprite(steps.astype(np.uint8), _diverging())


def areas(
    polygons: Sequence[np.ndarray],
    shades: Sequence[int],
    window: tuple[float, float, float, float],
    side: int = 360,
) -> str:
    """Polygons (corners, 2) that fill a window (left, right, bottom, top), as a PNG's data URL.

    Its longer side has `side` pixels. `shades` are numbers of `TINTS`, which begin anew.
    """
    with needs("train", "drawing pictures"):
        from PIL import Image, ImageDraw
    left, right, bottom, top = window
    scale = side / max(right - left, top - bottom)
    size = [max(1, round(scale * length)) for length in (right - left, top - bottom)]
    sheet = Image.new("P", (size[0], size[1]))
    sheet.putpalette([part for tint in TINTS for part in tint])
    draw = ImageDraw.Draw(sheet)
    for polygon, shade in zip(polygons, shades, strict=True):
        corners = np.stack([polygon[:, 0] - left, top - polygon[:, 1]], axis=1) * scale
        own = shade % len(TINTS)
        draw.polygon([(x, y) for x, y in corners.tolist()], fill=own, outline=own)
    return _data_url(sheet)


def masks(maps: np.ndarray) -> Sprite:
    """Maps (n, rows, columns) of values from 0 to 1 as opacities; what lies outside is cut off."""
    opacity = _bytes(255 * np.asarray(maps, float))[:, None]
    return _sprite(np.concatenate([np.zeros_like(opacity), opacity], axis=1))


def _data_url(image: Any) -> str:
    """A picture of Pillow's as a PNG inside a page."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _small(images: np.ndarray) -> np.ndarray:
    return shrunk(np.asarray(images, float), shrink_factor(images.shape[-2:], SIDE))


def _drawable(images: np.ndarray) -> np.ndarray:
    """One or three channels."""
    return images if images.shape[1] in (1, 3) else images.mean(1, keepdims=True)


def _diverging() -> list[int]:
    """The palette from blue over white to red, as numbers of red, green and blue in turn."""
    share = np.arange(-TONES, TONES + 1)[:, None] / TONES
    ends = np.where(share > 0, np.array(RED, float), np.array(BLUE, float))
    colours = np.array(WHITE) + np.abs(share) * (ends - np.array(WHITE))
    return _bytes(colours).ravel().tolist()


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _sprite(pictures: np.ndarray, palette: Sequence[int] | None = None) -> Sprite:
    """Pictures (n, 1: grey, 2: grey and opacity, or 3: colours, rows, columns) as one PNG.

    With a palette, of one channel, numbers are places there.
    """
    with needs("train", "drawing pictures"):
        from PIL import Image
    count = len(pictures)
    height, width = pictures.shape[2:]
    framed = np.pad(pictures, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    channels, rows, columns = framed.shape[1:]
    across = max(1, math.ceil(math.sqrt(count * rows / columns)))
    down = math.ceil(count / across)
    sheet = np.zeros((down * across, channels, rows, columns), np.uint8)
    sheet[:count] = framed
    rowwise = sheet.reshape(down, across, channels, rows, columns).transpose(0, 3, 1, 4, 2)
    pixels = rowwise.reshape(down * rows, across * columns, channels)
    image = Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels)
    if palette is not None:
        image.putpalette(palette)
    return Sprite(_data_url(image), count, across, width, height)
