"""NumPy archives.

- Pixels and features arrive unchanged, grey ones with a channel axis, with or without splits.
- Each defect gives one DataError that names the file and the array: damaged file, missing arrays,
  objects, shapes, types, values that are not finite, labels outside the classes.
- A truncated or altered file loads or raises DataError, never anything else.
"""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualview.datasets.npz import read_npz
from dualview.errors import DataError

from .files import pixels

LABELS = np.array([0, 1, 1, 0])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.npz"


@pytest.mark.parametrize("shape", [(6, 5), (1, 6, 5), (3, 6, 5), (1, 1, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_images_unchanged(path, shape, dtype):
    x = pixels(4, shape).astype(dtype)
    np.savez(path, x=x, y=LABELS)
    examples = read_npz(path).splits["train"]
    assert examples.images.dtype == (np.uint8 if dtype == np.uint8 else np.float32)
    expected = x if x.ndim == 4 else x[:, None]
    np.testing.assert_array_equal(examples.images, expected)
    np.testing.assert_array_equal(examples.labels, LABELS)


def test_splits_and_names(path):
    parts = {f"x_{name}": pixels(4, seed=i) for i, name in enumerate(("train", "test"))}
    np.savez_compressed(
        path, **parts, y_train=LABELS, y_test=1 - LABELS, class_names=["cat", "dog"]
    )
    source = read_npz(path)
    assert set(source.splits) == {"train", "test"}
    assert source.class_names == ("cat", "dog")
    for name in ("train", "test"):
        np.testing.assert_array_equal(source.splits[name].images, parts[f"x_{name}"])
    assert source.splits["test"].labels.tolist() == (1 - LABELS).tolist()


def not_finite(value):
    x = pixels(4).astype(np.float64)
    x[2, 0, 1, 1] = value
    return {"x": x, "y": LABELS}


ragged = np.empty(4, dtype=object)

REFUSED = {
    "no arrays": ({}, "expected arrays x and y, .* got none"),
    "no labels": ({"x": pixels(4)}, "got x"),
    "no images": ({"y": LABELS}, "got y"),
    "other names": ({"data": pixels(4), "target": LABELS}, "got data, target"),
    "unpaired": ({"x": pixels(4), "y": LABELS, "x_test": pixels(4)}, "expected arrays"),
    "two train splits": ({"x": pixels(4), "y": LABELS, "x_train": pixels(4)}, "expected arrays"),
    "objects": ({"x": ragged, "y": LABELS}, "'x': holds Python objects"),
    "lengths": ({"x": pixels(5), "y": LABELS}, "'x' has 5 examples and 'y' has 4"),
    "features": ({"x": pixels(4)[:, 0, 0], "y": LABELS}, r"got \(4, 5\); plain features"),
    "too many axes": ({"x": pixels(4)[None], "y": LABELS}, r"expected images of shape"),
    "channels last": ({"x": pixels(4, (6, 5, 3)), "y": LABELS}, r"transpose\(0, 3, 1, 2\)"),
    "empty": ({"x": pixels(0), "y": LABELS[:0]}, "at least one image"),
    "integers": ({"x": pixels(4).astype(np.int64), "y": LABELS}, "got int64"),
    "complex": ({"x": pixels(4).astype(np.complex64), "y": LABELS}, "got complex64"),
    "NaN": (not_finite(np.nan), "'x', row 2: expected finite"),
    "infinity": (not_finite(np.inf), "'x', row 2: expected finite"),
    "float32 overflow": (not_finite(1e300), "'x', row 2: expected finite"),
    "negative label": ({"x": pixels(4), "y": LABELS - 1}, "'y', row 0: label -1"),
    "float label": ({"x": pixels(4), "y": LABELS / 2}, "integer labels, got float64"),
    "one-hot": ({"x": pixels(4), "y": np.eye(2)[LABELS]}, "class numbers, not one-hot"),
    "unused class": ({"x": pixels(4), "y": LABELS * 3}, "no example has label 1"),
    "past the names": (
        {"x": pixels(4), "y": LABELS, "class_names": ["only"]},
        "row 1: label 1 is outside",
    ),
    "names no strings": (
        {"x": pixels(4), "y": LABELS, "class_names": np.arange(2)},
        "'class_names': expected a list of strings",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(path, case):
    arrays, message = REFUSED[case]
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=message) as caught:
        read_npz(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_no_archive(path, content):
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"{path}: cannot be read as .npz")):
        read_npz(path)


def test_plain_npy_is_no_archive(path):
    with path.open("wb") as file:
        np.save(file, LABELS)
    with pytest.raises(DataError, match=r"cannot be read as \.npz"):
        read_npz(path)


def outcome(path):
    """The training images, or the message of the error."""
    try:
        return read_npz(path).splits["train"].images, None
    except DataError as error:
        return None, str(error)


@given(data=st.data())
def test_damage_never_escapes(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("npz") / "damaged.npz"
    np.savez(path, x=pixels(4), y=LABELS)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    images, message = outcome(path)
    if images is None:
        assert str(path) in message
    else:
        np.testing.assert_array_equal(images, pixels(4))  # the zip file's checksums see to it
