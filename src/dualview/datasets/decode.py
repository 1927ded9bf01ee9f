"""Encoded images (PNG, JPEG, ...) to one uint8 array (n, c, h, w).

An image keeps its exact pixels or is refused:

- grey and RGB images of 8 bits are taken as they are, bilevel ones become grey (0 and 255) and
  palettes become the RGB colours they stand for;
- an alpha channel is dropped where every pixel is opaque and refused otherwise, because the colour
  behind a transparent pixel is a guess; 16-bit, CMYK and other modes are refused;
- images turned by a camera's orientation tag are turned upright, as the hub's own reader does;
- all images have one size and are all grey or all colour; nothing is resized.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from dualview.errors import DataError, need
from dualview.files.opening import opened
from dualview.files.room import room, said
from dualview.progress import Terminal

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
"""What Pillow may open: plain pictures, and nothing that starts another program."""

MOST_ENCODED = 2**28
"""Bytes of one encoded image; Pillow refuses what is larger decoded."""

IMAGES_AT_ONCE = 128
"""Images that one thread decodes at a time."""


ORIENTATION = 0x0112
"""Number of the Exif tag that says how a camera was held."""


class Encoded(NamedTuple):
    """One image before decoding."""

    where: str
    """How messages name it: the file, and the row inside it."""
    content: bytes | Path


def decode_images(
    encoded: Iterable[Encoded], count: int, title: str
) -> tuple[np.ndarray, frozenset[str]]:
    """Decode all images with a few threads, with a progress bar on a terminal.

    Args:
        encoded: the images, in order; consumed once.
        count: how many there are, at least one.
        title: label of the progress bar.

    Returns:
        The pixels, (count, c, h, w) uint8, and the formats met, such as {"JPEG"}.

    Raises:
        DataError: the first image (in order) that is damaged, of another size or kind than the
            first one, or that has no exact 8-bit pixels; or data larger than the machine's memory.
    """
    pixels = need("PIL.Image", "train")
    images = iter(encoded)
    with _bomb_is_error(pixels), _threads_that_start(title):
        first = next(images)
        example, _ = decode_image(pixels, first)
        out = _allocate((count, *example.shape), first.where)
        chunks = _chunks(chain([first], images))
        formats: set[str] = set()

        def fill(chunk: tuple[int, Sequence[Encoded]]) -> tuple[int, set[str]]:
            start, members = chunk
            met = set()
            for row, image in enumerate(members, start):
                values, name = decode_image(pixels, image)
                _expect_same(values.shape, example.shape, image.where, first.where)
                out[row] = values
                met.add(name)
            return len(members), met

        counting = Terminal().counting(count, title, unit="image")
        with ThreadPoolExecutor(os.cpu_count()) as pool, counting as advance:
            try:
                for done, met in pool.map(fill, chunks):
                    formats |= met
                    advance(done)
            except BaseException:  # stop now, not after the images still waiting
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return out, frozenset(formats)


def decode_image(pixels: Any, image: Encoded) -> tuple[np.ndarray, str]:
    """Exact pixels of one image, (c, h, w) uint8, and its format.

    Args:
        pixels: the module `PIL.Image`.
        image: encoded bytes or a file.

    Raises:
        DataError: the image is damaged or has no exact 8-bit pixels.
    """
    content = image.content
    try:
        with _stream(content) as stream, pixels.open(stream, formats=FORMATS) as picture:
            name = str(picture.format)
            animated = getattr(picture, "is_animated", False)
            mode = _stored_mode(picture)
            exact = _exact(picture, mode)
            values = None if exact is None else np.asarray(exact)
    except pixels.UnidentifiedImageError as error:
        raise DataError(
            f"{image.where}: damaged, or no image of a known format ({', '.join(FORMATS)})"
        ) from error
    except MemoryError as error:
        raise DataError(f"{image.where}: no memory left to decode it") from error
    except Exception as error:  # damaged bytes make Pillow raise almost any type
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{image.where}: cannot be decoded as an image: {reason}") from error
    if animated:
        raise DataError(f"{image.where}: expected one picture, got an animation")
    if values is None:
        raise DataError(
            f"{image.where}: expected 8-bit grey or RGB without transparent pixels, got an image "
            f"of mode {mode}; convert it, for example with Pillow's convert('RGB')"
        )
    if values.ndim == 2:
        return values[None], name
    return values.transpose(2, 0, 1), name


@contextmanager
def _stream(content: bytes | Path) -> Iterator[BinaryIO]:
    """The encoded bytes as a stream.

    Raises:
        DataError: more than any image that could be decoded has.
    """
    if isinstance(content, bytes):
        yield io.BytesIO(content)
        return
    with opened(content) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > MOST_ENCODED:
            raise DataError(f"{content}: {too_long(size)}")
        yield stream


def too_long(size: int) -> str:
    """What to say of an encoded image of so many bytes."""
    return (
        f"expected an encoded image of at most {said(MOST_ENCODED)}, got {said(size)}; store "
        f"pictures of one small size"
    )


def expect_room(encoded: Encoded, count: int, where: str) -> None:
    """Refuse `count` images like this one where they would not fit into memory decoded.

    Only the header is read: what cannot be read is for `decode_images` to say, image by image.

    Raises:
        DataError: they would not fit.
    """
    pixels = need("PIL.Image", "train")
    try:
        with (
            _bomb_is_error(pixels),
            _stream(encoded.content) as stream,
            pixels.open(stream, formats=FORMATS) as picture,
        ):
            width, height = picture.size
            channels = 1 if picture.mode in ("1", "L", "LA") else 3
    except Exception:  # as in `decode_image`, which says which
        return
    _expect_memory((count, channels, height, width), where)


def _stored_mode(image: Any) -> str:
    """Pillow's mode, or "RGB;16B" and the like where it would drop the low bytes in silence."""
    raw = [str(part) for tile in image.tile for part in np.atleast_1d(tile[3])]
    return next((part for part in raw if ";16" in part), str(image.mode))


def _exact(image: Any, mode: str) -> Any | None:
    """The image in mode L or RGB with the same pixels, or None where there is no such thing."""
    if mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        return None
    if image.getexif().get(ORIENTATION, 1) != 1:
        image = need("PIL.ImageOps", "train").exif_transpose(image)
    if image.has_transparency_data:
        with_alpha = image if mode in ("LA", "RGBA") else image.convert("RGBA")
        lowest, _ = with_alpha.getchannel("A").getextrema()
        return with_alpha.convert(with_alpha.mode[:-1]) if lowest == 255 else None
    if mode == "1":
        return image.convert("L")
    return image.convert("RGB") if mode == "P" else image


def _expect_same(shape: tuple[int, ...], expected: tuple[int, ...], where: str, first: str) -> None:
    if shape != expected:
        raise DataError(
            f"{where}: expected {shape_name(expected)} as in {first}, got {shape_name(shape)}; "
            "convert all images to one size and kind"
        )


def shape_name(shape: tuple[int, ...]) -> str:
    """How messages name (c, h, w).

    >>> shape_name((1, 28, 30))
    'a grey image of height 28 and width 30'
    """
    channels, height, width = shape
    kind = {1: "a grey image", 3: "an RGB image"}.get(channels, f"{channels} channels")
    return f"{kind} of height {height} and width {width}"


def _allocate(shape: tuple[int, ...], where: str) -> np.ndarray:
    """An array for all pixels, unless memory could not hold it."""
    _expect_memory(shape, where)
    try:
        return np.empty(shape, dtype=np.uint8)
    except MemoryError as error:
        raise DataError(f"{where}: no memory left for {shape[0]:,} images like this one") from error


def _expect_memory(shape: tuple[int, ...], where: str) -> None:
    size, free = math.prod(shape), room()
    if size > free:
        raise DataError(
            f"{where}: {shape[0]:,} images like this one take {said(size)} decoded, and "
            f"{said(free)} of memory are left; use fewer or smaller images"
        )


def _chunks(images: Iterator[Encoded]) -> Iterator[tuple[int, list[Encoded]]]:
    """Pieces of at most `IMAGES_AT_ONCE` images, each with the row of its first."""
    start = 0
    while chunk := list(islice(images, IMAGES_AT_ONCE)):
        yield start, chunk
        start += len(chunk)


@contextmanager
def _threads_that_start(title: str) -> Iterator[None]:
    """Say what a limit on memory has to do with it."""
    try:
        yield
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        raise DataError(
            f"{title}: no memory left to start threads that decode images; raise the limit "
            f"(ulimit -v, prlimit --as)"
        ) from error


@contextmanager
def _bomb_is_error(pixels: Any) -> Iterator[None]:
    """Refuse absurd sizes in damaged headers; say nothing of damaged metadata beside pixels."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", pixels.DecompressionBombWarning)
        yield
