"""Folders of Parquet files.

- Splits are found by file name or folder, at every place where the hub's layout has them; shards
  are read in order and must be complete; several configurations need a choice.
- A truncated or altered file loads or raises one DataError that names it, never anything else, and
  nothing of it is kept.
- The second start comes from the cache, and gives the same.
- The real MNIST and CIFAR-10 files, whose image columns differ, give their images, labels and
  names.
"""

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualview.datasets import tables
from dualview.datasets.parquet import has_parquet, read_parquet, split_files
from dualview.datasets.tables import Columns
from dualview.errors import DataError

from .files import SHARED, needs, pixels, table_of, write_parquet

LABELS = [0, 1, 1, 0]


def read(path, config=None, cache=False):
    return read_parquet(path, Columns(), config, cache=cache)


PLACES = {
    "flat": "{split}-00000-of-00001.parquet",
    "data folder": "data/{split}-00000-of-00001.parquet",
    "hash in the name": "data/{split}-00000-of-00001-0123456789abcdef.parquet",
    "configuration": "plain_text/{split}-00000-of-00001.parquet",
    "converted branch": "default/{split}/0000.parquet",
    "split folders": "{split}/0000.parquet",
    "short": "{split}.parquet",
}


@pytest.mark.parametrize("place", PLACES)
def test_places(tmp_path, place):
    for i, split in enumerate(("train", "validation", "test")):
        name = PLACES[place].format(split=split)
        write_parquet(tmp_path / name, pixels(4, seed=i), LABELS, names="ab")
    assert has_parquet(tmp_path)
    source = read(tmp_path)
    assert source.class_names == ("a", "b")
    assert set(source.splits) == {"train", "validation", "test"}
    for i, split in enumerate(("train", "validation", "test")):
        np.testing.assert_array_equal(source.splits[split].images, pixels(4, seed=i))
        assert source.splits[split].labels.tolist() == LABELS


def test_single_file(tmp_path):
    path = write_parquet(tmp_path / "some.parquet", pixels(4), LABELS)
    assert set(read(path).splits) == {"train"}


def shards(folder, *numbers, total=3):
    for i in numbers:
        name = f"train-{i:05}-of-{total:05}.parquet"
        write_parquet(folder / name, pixels(2, seed=i), [i % 2, 1])


def test_shards_in_order(tmp_path):
    shards(tmp_path, 2, 0, 1)
    expected = np.concatenate([pixels(2, seed=i) for i in range(3)])
    np.testing.assert_array_equal(read(tmp_path).splits["train"].images, expected)


def test_missing_shard(tmp_path):
    shards(tmp_path, 0, 2)
    with pytest.raises(
        DataError, match=r"expected every shard of one set \(3 files\), found train"
    ):
        read(tmp_path)


def test_shards_of_two_sets(tmp_path):
    shards(tmp_path, 0, total=1)
    shards(tmp_path, 0, 1, total=2)
    with pytest.raises(DataError, match="expected every shard of one set"):
        read(tmp_path)


def test_configurations(tmp_path):
    for i, config in enumerate(("large", "small")):
        write_parquet(tmp_path / config / "train-0.parquet", pixels(4, seed=i), LABELS)
    with pytest.raises(DataError, match=r"several configurations \(large, small\).* with config"):
        read(tmp_path)
    source = read(tmp_path, "small")
    np.testing.assert_array_equal(source.splits["train"].images, pixels(4, seed=1))
    with pytest.raises(DataError, match=r"config='tiny' .* expected one of large, small"):
        read(tmp_path, "tiny")


def test_no_training_files(tmp_path):
    write_parquet(tmp_path / "test-0.parquet", pixels(4), LABELS)
    write_parquet(tmp_path / "extra.parquet", pixels(4), LABELS)
    message = r"expected train-\*\.parquet, found extra\.parquet, test-0\.parquet"
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_other_splits_are_left_out(tmp_path):
    for name in ("train", "unsupervised"):
        write_parquet(tmp_path / f"{name}-0.parquet", pixels(4), LABELS)
    assert split_files(tmp_path, None) == {"train": [tmp_path / "train-0.parquet"]}


def test_image_size_differs_between_splits(tmp_path):
    write_parquet(tmp_path / "train-0.parquet", pixels(4), LABELS)
    write_parquet(tmp_path / "train-1.parquet", pixels(4, (3, 4, 4)), LABELS)
    with pytest.raises(DataError, match=r"train-1\.parquet, row 0: expected an RGB .* as in .*-0"):
        read(tmp_path)


def test_cached(tmp_path, cache_folder, monkeypatch):
    write_parquet(tmp_path / "train-0.parquet", pixels(4), LABELS, names="ab")
    first = read(tmp_path, cache=True)
    monkeypatch.setattr(tables, "decode_images", None)
    second = read(tmp_path, cache=True)
    np.testing.assert_array_equal(first.splits["train"].images, second.splits["train"].images)
    assert second.splits["train"].labels.tolist() == LABELS
    assert (second.class_names, second.formats) == (("a", "b"), {"PNG"})
    assert len(list(cache_folder.iterdir())) == 1


def test_cache_follows_the_split_of_a_file(tmp_path):
    """Links to one file under other names must not share an entry."""
    stored = write_parquet(tmp_path / "stored", pixels(4), LABELS)
    for folder, split in (("one", "test"), ("two", "validation")):
        (tmp_path / folder).mkdir()
        for name in ("train", split):
            (tmp_path / folder / f"{name}.parquet").symlink_to(stored)
    assert set(read(tmp_path / "one", cache=True).splits) == {"train", "test"}
    assert set(read(tmp_path / "two", cache=True).splits) == {"train", "validation"}


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"text" * 9])
def test_no_parquet(tmp_path, cache_folder, content):
    path = tmp_path / "train-0.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as Parquet, it may be cut short") as caught:
        read(tmp_path, cache=True)
    assert str(path) in str(caught.value)
    assert list(cache_folder.iterdir()) == []


def outcome(folder):
    """The training examples, or the message of the error."""
    try:
        return read(folder).splits["train"], None
    except DataError as error:
        return None, str(error)


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@given(data=st.data())
def test_damage_never_escapes(tmp_path_factory, compression, kind, data):
    path = tmp_path_factory.mktemp("damaged") / "train-0.parquet"
    table = table_of(pixels(4), LABELS, names="ab", kind=kind)
    pq.write_table(table, path, compression=compression)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    examples, message = outcome(path.parent)
    if examples is None:
        assert str(path) in message
    else:
        assert len(examples.images) == len(examples.labels)


def test_damage_is_found_by_checksums_where_the_file_has_them(tmp_path):
    path = tmp_path / "train-0.parquet"
    image = pixels(1)[0]
    table = table_of([image], [0], kind="BMP")
    pq.write_table(table, path, compression="none", write_page_checksum=True, use_dictionary=False)
    content = path.read_bytes()
    row = image.transpose(1, 2, 0)[0, :, ::-1].tobytes()  # as a BMP file holds it
    assert row in content  # in the page, and in the statistics of the column
    path.write_bytes(content.replace(row, row[::-1]))
    with pytest.raises(DataError, match="cut short or damaged"):
        read(tmp_path)


def real(folder, name):
    """The shared test files, 10,000 images, as training files: decoding all takes longer."""
    folder = folder / name
    folder.mkdir()
    (stored,) = (SHARED / name).glob("test-*.parquet")
    (folder / "train-00000-of-00001.parquet").symlink_to(stored)
    return read_parquet(folder, Columns(), None, cache=False)


@needs("mnist")
def test_mnist(tmp_path):
    source = real(tmp_path, "mnist")
    examples = source.splits["train"]
    assert source.class_names == tuple("0123456789")
    assert source.formats == {"PNG"}
    assert examples.images.shape == (10_000, 1, 28, 28)
    assert examples.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    # the known counts of the original test set
    assert np.bincount(examples.labels).tolist() == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]
    assert abs(examples.images.mean() / 255 - 0.1325) < 1e-4


@needs("cifar10")
def test_cifar10(tmp_path):
    source = real(tmp_path, "cifar10")
    examples = source.splits["train"]
    assert source.class_names[0] == "airplane"
    assert source.class_names[9] == "truck"
    assert source.formats == {"WEBP"}
    assert examples.images.shape == (10_000, 3, 32, 32)
    assert np.bincount(examples.labels).tolist() == [1000] * 10
    mean = examples.images.mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(mean, (0.4942, 0.4851, 0.4504), atol=1e-4)
    # red comes first: airplanes and ships are seen before blue, more than red
    by_class = [examples.images[examples.labels == k].mean((0, 2, 3)) for k in (0, 8)]
    assert np.argmax(by_class, axis=1).tolist() == [2, 2]


@needs("cifar100")
def test_cifar100(tmp_path):
    source = real(tmp_path, "cifar100")
    examples = source.splits["train"]
    assert (len(source.class_names), source.class_names[0], source.class_names[99]) == (
        *(100, "apple", "worm"),
    )
    assert source.formats == {"WEBP"}
    assert examples.images.shape == (10_000, 3, 32, 32)
    assert np.bincount(examples.labels).tolist() == [100] * 100
    # apples and sweet peppers are red
    by_class = [examples.images[examples.labels == k].mean((0, 2, 3)) for k in (0, 83)]
    assert np.argmax(by_class, axis=1).tolist() == [0, 0]
