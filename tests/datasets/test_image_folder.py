"""Folders of images.

- Files arrive in sorted order with the number of their class, with and without split folders.
- Whatever could be left out or mistaken in silence is refused by name.
- The second start comes from the cache; a changed file does not.
"""

import numpy as np
import pytest

from dualview.datasets import image_folder
from dualview.datasets.image_folder import read_image_folder
from dualview.errors import DataError

from .files import encode, pixels, write_images


@pytest.fixture
def root(tmp_path):
    """Two classes of three and two grey images."""
    images = pixels(5, (1, 4, 4))
    write_images(tmp_path / "data" / "b", images[:3])
    write_images(tmp_path / "data" / "a", images[3:])
    return tmp_path / "data"


def test_classes_without_splits(root):
    source = read_image_folder(root, cache=False)
    examples = source.splits["train"]
    assert source.class_names == ("a", "b")
    assert examples.labels.tolist() == [0, 0, 1, 1, 1]
    np.testing.assert_array_equal(examples.images, pixels(5, (1, 4, 4))[[3, 4, 0, 1, 2]])
    assert source.formats == {"PNG"}


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_splits(tmp_path, validation):
    for i, split in enumerate(("train", validation, "test")):
        write_images(tmp_path / split / "x", pixels(2, seed=i))
        if split != "test":
            write_images(tmp_path / split / "y", pixels(1, seed=10 + i), kind="BMP")
    source = read_image_folder(tmp_path, cache=False)
    assert set(source.splits) == {"train", "validation", "test"}
    assert source.splits["validation"].labels.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(source.splits["test"].images, pixels(2, seed=2))


def test_deeper_folders_hidden_files_and_upper_case(root):
    write_images(root / "a" / "images", pixels(1, (1, 4, 4), seed=3))
    (root / "a" / "000.png").rename(root / "a" / "000.PNG")
    (root / "a" / ".DS_Store").write_bytes(b"x")
    (root / "a" / "Thumbs.db").write_bytes(b"x")
    (root / ".git" / "x").mkdir(parents=True)
    assert read_image_folder(root, cache=False).splits["train"].labels.tolist() == [0] * 3 + [1] * 3


def test_empty_folder(tmp_path):
    with pytest.raises(DataError, match=r"expected Parquet files .* found neither"):
        read_image_folder(tmp_path, cache=False)


def empty_class(root):
    (root / "c").mkdir()
    return r"c: expected the images of class 'c', found none"


def other_file(root):
    (root / "a" / "notes.txt").write_text("x")
    return r"notes\.txt: expected an image"


def truncated(root):
    path = root / "b" / "001.png"
    path.write_bytes(encode(pixels(1, (1, 40, 40))[0])[:700])
    return r"b/001\.png: cannot be decoded"


def mixed_size(root):
    write_images(root / "b", pixels(1, (1, 4, 5)))
    return r"b/000\.png: expected a grey image of height 4 and width 4 as in .*a/000\.png, got"


def class_called_train(root):
    (root / "a").rename(root / "train")
    return "'train' says that sub-folders are splits, but b is no split"


@pytest.mark.parametrize(
    "damage", [empty_class, other_file, truncated, mixed_size, class_called_train]
)
def test_refusals(root, cache_folder, damage):
    with pytest.raises(DataError, match=damage(root)) as caught:
        read_image_folder(root, cache=True)
    assert str(root) in str(caught.value)
    assert list(cache_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["val/x", "test/x"], "expected a folder 'train' beside test, val"),
        (["train/x", "val/x", "valid/x"], "two folders hold the validation split"),
        (
            ["train/x", "train/y", "test/z"],
            "the test split has a class 'z' without training images; the train split has x, y",
        ),
    ],
)
def test_refused_splits(tmp_path, folders, message):
    for folder in folders:
        write_images(tmp_path / folder, pixels(1))
    with pytest.raises(DataError, match=message):
        read_image_folder(tmp_path, cache=False)


def test_split_folder_without_classes(tmp_path):
    write_images(tmp_path / "train", pixels(1))
    with pytest.raises(DataError, match="train: expected one folder of images per class"):
        read_image_folder(tmp_path, cache=False)


def test_cached(root, monkeypatch):
    first = read_image_folder(root, cache=True)
    with monkeypatch.context() as patch:
        patch.setattr(image_folder, "decode_images", None)
        second = read_image_folder(root, cache=True)
    np.testing.assert_array_equal(first.splits["train"].images, second.splits["train"].images)
    assert second.formats == first.formats
    write_images(root / "b", pixels(4, (1, 4, 4), seed=9))
    changed = read_image_folder(root, cache=True)
    assert len(changed.splits["train"].labels) == 6
