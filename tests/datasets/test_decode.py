"""Decoding.

- Lossless formats give back exactly the pixels that were stored, in order, from bytes and files,
  for more images than one thread takes at a time; JPEG gives what Pillow gives.
- Bilevel and palette images and opaque alpha channels convert without a change; everything that has
  no exact 8-bit pixels is refused.
- Truncated, damaged and unlike images are refused, the first in order, by name.
"""

import io
import re

import numpy as np
import pytest
from PIL import Image

from dualview.datasets import decode
from dualview.datasets.decode import IMAGES_AT_ONCE, Encoded, decode_images
from dualview.errors import DataError

from .files import encode, encode_image, pixels


def decode_all(contents):
    encoded = [Encoded(f"image {i}", content) for i, content in enumerate(contents)]
    return decode_images(encoded, len(encoded), "test")


def decode_one(image, kind="PNG", **options):
    return decode_all([encode_image(image, kind, **options)])[0][0]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("shape", [(1, 6, 5), (3, 6, 5)])
def test_lossless_formats(kind, shape):
    images = pixels(2 * IMAGES_AT_ONCE + 3, shape)
    decoded, formats = decode_all([encode(a, kind) for a in images])
    np.testing.assert_array_equal(decoded, images)
    assert formats == {kind}


def test_files(tmp_path):
    images = pixels(3)
    paths = [tmp_path / f"{i}.webp" for i in range(3)]
    for path, array in zip(paths, images, strict=True):
        path.write_bytes(encode(array, "WEBP", lossless=True))
    decoded, formats = decode_all(paths)
    np.testing.assert_array_equal(decoded, images)
    assert formats == {"WEBP"}


@pytest.mark.parametrize("shape", [(1, 6, 5), (3, 6, 5)])
def test_jpeg(shape):
    content = encode(pixels(1, shape)[0], "JPEG")
    expected = np.asarray(Image.open(io.BytesIO(content))).reshape(6, 5, -1).transpose(2, 0, 1)
    decoded, formats = decode_all([content, content])
    np.testing.assert_array_equal(decoded, np.stack([expected, expected]))
    assert formats == {"JPEG"}


def test_mixed_formats_are_all_named():
    array = pixels(1)[0]
    assert decode_all([encode(array), encode(array, "JPEG")])[1] == {"PNG", "JPEG"}


def test_bilevel_becomes_grey():
    bits = pixels(1, (6, 5))[0] > 127
    np.testing.assert_array_equal(decode_one(Image.fromarray(bits))[0], bits * 255)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_becomes_its_colours(kind):
    colours, index = pixels(7, (3,)), pixels(1, (6, 5))[0] % 7
    image = Image.fromarray(index).copy()
    image.putpalette(colours.tobytes())
    assert image.mode == "P"
    np.testing.assert_array_equal(decode_one(image, kind), colours[index].transpose(2, 0, 1))


@pytest.mark.parametrize("channels", [1, 3])
def test_alpha(channels):
    array = pixels(1, (6, 5, channels))[0]
    opaque = np.concatenate([array, np.full((6, 5, 1), 255, np.uint8)], axis=2)
    np.testing.assert_array_equal(decode_one(Image.fromarray(opaque)), array.transpose(2, 0, 1))
    opaque[3, 2, -1] = 254
    with pytest.raises(DataError, match=r"without transparent pixels, got an image of mode .*A"):
        decode_one(Image.fromarray(opaque))


def test_transparent_colour_of_a_png():
    image = Image.fromarray(pixels(1)[0].transpose(1, 2, 0))
    seen, unseen = image.getpixel((0, 0)), (1, 2, 3)
    assert unseen not in list(image.get_flattened_data())
    with pytest.raises(DataError, match="without transparent pixels"):
        decode_one(image, transparency=seen)
    np.testing.assert_array_equal(decode_one(image, transparency=unseen), pixels(1)[0])


def test_orientation_tag_is_obeyed():
    array = pixels(1)[0]
    exif = Image.Exif()
    exif[decode.ORIENTATION] = 6  # stored lying on its left side
    turned = decode_one(Image.fromarray(array.transpose(1, 2, 0)), exif=exif)
    np.testing.assert_array_equal(turned, np.rot90(array, -1, axes=(1, 2)))


def deep_png():
    """A 16-bit RGB PNG, which Pillow can read but not write."""
    import struct
    import zlib

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(range(12)) for _ in range(2)))
    magic = b"\x89PNG\r\n\x1a\n"
    return magic + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


REFUSED = {
    "16-bit grey": (
        encode_image(Image.fromarray(np.ones((2, 2), np.uint16))),
        "8-bit grey or RGB .* mode I;16",
    ),
    "16-bit RGB": (deep_png(), "8-bit grey or RGB .* mode RGB;16B"),
    "float": (encode_image(Image.new("F", (2, 2)), "TIFF"), "mode F"),
    "CMYK": (encode_image(Image.new("CMYK", (2, 2)), "JPEG"), "mode CMYK"),
    "animation": (
        encode_image(
            Image.new("L", (2, 2)), "GIF", save_all=True, append_images=[Image.new("L", (2, 2), 9)]
        ),
        "got an animation",
    ),
    "no image": (b"some text", r"damaged, or no image of a known format \(PNG, JPEG"),
    "nothing": (b"", "no image of a known format"),
    "a script": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image of a known"),
    "truncated PNG": (encode(pixels(1, (3, 30, 30))[0])[:1500], "cannot be decoded"),
    "truncated JPEG": (encode(pixels(1, (3, 30, 30))[0], "JPEG")[:1000], "truncated"),
    "missing file": ("no/such.png", "No such file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case, tmp_path):
    content, message = REFUSED[case]
    content = tmp_path / content if isinstance(content, str) else content
    with pytest.raises(DataError, match=f"^image 0: .*{message}"):
        decode_all([content])


def test_absurd_size_in_a_header():
    content = bytearray(encode(pixels(1)[0], "BMP"))
    content[18:26] = (60_000).to_bytes(4, "little") * 2
    with pytest.raises(DataError, match="image 0: cannot be decoded as an image: Image size"):
        decode_all([bytes(content)])


def test_more_than_the_memory():
    with pytest.raises(DataError, match=r"image 0: [\d,]+ images like this one take .* GiB"):
        decode_images([Encoded("image 0", encode(pixels(1)[0]))], 2**50, "test")


@pytest.mark.parametrize(
    ("other", "message"),
    [((3, 6, 6), "an RGB image of height 6 and width 6"), ((1, 6, 5), "a grey image of height 6")],
)
def test_unlike_images(other, message):
    contents = [encode(a) for a in [*pixels(IMAGES_AT_ONCE + 5), *pixels(1, other), *pixels(3)]]
    where = (
        rf"image {IMAGES_AT_ONCE + 5}: expected an RGB image of height 6 and width 5 as in image 0"
    )
    with pytest.raises(DataError, match=f"{where}, got {message}"):
        decode_all(contents)


def test_first_error_in_order():
    contents = [encode(a) for a in pixels(5 * IMAGES_AT_ONCE)]
    for row in (4 * IMAGES_AT_ONCE, IMAGES_AT_ONCE + 1, 2 * IMAGES_AT_ONCE):
        contents[row] = b"damaged"
    with pytest.raises(DataError, match=re.escape(f"image {IMAGES_AT_ONCE + 1}:")):
        decode_all(contents)


def test_no_bar_where_there_is_no_terminal(capsys):
    decode_all([encode(a) for a in pixels(3)])
    assert capsys.readouterr() == ("", "")
