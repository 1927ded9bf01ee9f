"""`load`, from a name or a path to a data set with three splits.

- Every kind of source gives three splits that are not empty, with statistics of the train split.
- Splits of the source stay as they are; missing ones are cut from its train split, by the seed.
- What a report calls the data is the proper name of a well-known data set, and says that JPEG lost
  something, or that the test split is not the original one.
- Unknown names, and options without meaning, are refused; a path that exists wins over a name.
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from dualview.datasets import load
from dualview.datasets.dataset import Examples, Source, channel_statistics
from dualview.datasets.sources import LOSSLESS_ORIGINALS, OWN_SPLITS, _own_split, description
from dualview.errors import DataError

from .files import SHARED, pixels, write_images, write_parquet

LABELS = np.tile([0, 1], 20)
SPLITS = ("train", "validation", "test")


def npz(folder):
    np.savez(folder / "toy.npz", x=pixels(40), y=LABELS)
    return folder / "toy.npz"


def parquet(folder):
    write_parquet(folder / "toy" / "train-0.parquet", pixels(40), LABELS)
    return folder / "toy"


def parquet_file(folder):
    return write_parquet(folder / "toy.parquet", pixels(40), LABELS)


def image_folder(folder):
    for label in range(2):
        write_images(folder / "toy" / str(label), pixels(40)[label == LABELS])
    return folder / "toy"


SOURCES = [npz, parquet, parquet_file, image_folder]


@pytest.mark.parametrize("make", SOURCES)
@pytest.mark.parametrize("as_text", [False, True])
def test_every_source(tmp_path, make, as_text):
    path = make(tmp_path)
    data = load(str(path) if as_text else path, validation=0.1, test=0.25)
    assert [len(getattr(data, name)) for name in SPLITS] == [26, 4, 10]
    assert data.description == "toy"
    assert data.class_names == ("0", "1")
    assert data.input_shape == (3, 6, 5)
    assert (data.mean, data.std) == channel_statistics(data.train.images)
    original = {a.tobytes(): label for a, label in zip(pixels(40), LABELS, strict=True)}
    found = {}
    for name in SPLITS:
        split = getattr(data, name)
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert split.labels.double().mean() == 0.5
        for image, label in zip(split.images.numpy(), split.labels.tolist(), strict=True):
            found[image.tobytes()] = label
    assert found == original


def test_digits():
    data = load("digits", seed=3)
    assert [len(getattr(data, name)) for name in SPLITS] == [1258, 180, 359]
    assert data.train.images.dtype == torch.float32
    assert data.description == "digits"
    assert 0 <= data.train.images.min() < data.train.images.max() == 1


def test_seed():
    first, again, other = (load("digits", seed=seed).test.images for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("given", ["test", "validation"])
def test_splits_of_the_source_stay(tmp_path, given):
    arrays = {f"x_{given}": pixels(6, seed=1), f"y_{given}": np.tile([1, 0], 3)}
    np.savez(tmp_path / "toy.npz", x=pixels(40), y=LABELS, **arrays)
    data = load(tmp_path / "toy.npz", validation=0.25, test=0.25)
    np.testing.assert_array_equal(getattr(data, given).images, pixels(6, seed=1))
    assert len(data.train) == 30


def test_full_source_needs_no_cut(tmp_path):
    arrays = {}
    for i, name in enumerate(SPLITS):
        arrays |= {f"x_{name}": pixels(2, seed=i), f"y_{name}": np.array([0, 1])}
    np.savez(tmp_path / "toy.npz", **arrays)
    data = load(tmp_path / "toy.npz")
    for i, name in enumerate(SPLITS):
        np.testing.assert_array_equal(getattr(data, name).images, pixels(2, seed=i))


def test_splits_of_different_shape(tmp_path):
    other = {"x_test": pixels(2, (1, 6, 5)), "y_test": np.array([0, 1])}
    np.savez(tmp_path / "toy.npz", x=pixels(40), y=LABELS, **other)
    message = r"toy\.npz: the test split holds a grey image .* the train split an RGB image"
    with pytest.raises(DataError, match=message):
        load(tmp_path / "toy.npz")


def test_tiny_class_names_the_file(tmp_path):
    np.savez(tmp_path / "toy.npz", x=pixels(3), y=np.array([0, 0, 0]))
    assert len(load(tmp_path / "toy.npz").train) == 1
    np.savez(tmp_path / "toy.npz", x=pixels(4), y=np.array([0, 0, 0, 1]))
    with pytest.raises(DataError, match=r"toy\.npz: class '1' has 1 example"):
        load(tmp_path / "toy.npz")


@pytest.mark.parametrize("option", ["validation", "test"])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_shares(option, share):
    with pytest.raises(DataError, match=f"{option}: expected a number .*, got {share}"):
        load("digits", **{option: share})


@pytest.mark.parametrize("seed", [-1, 0.5, True])
def test_seeds(seed):
    with pytest.raises(DataError, match="expected a whole number"):
        load("digits", seed=seed)


@pytest.mark.parametrize("name", ["digit", "cifar10", "/no/such", "../x", "a/b.npz", "a/b.parquet"])
def test_unknown_names_list_what_is_accepted(name):
    with pytest.raises(
        DataError, match=r"no such file.*'digits', a folder of Parquet.*hub"
    ) as caught:
        load(name)
    assert str(caught.value).startswith(f"{name}: ")


def test_file_of_another_kind(tmp_path):
    (tmp_path / "data.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"data\.csv: cannot be read as data; expected 'digits'"):
        load(tmp_path / "data.csv")


def test_unreadable_folder(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    path = image_folder(tmp_path)
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"toy: cannot be read: .*Permission denied"):
        load(path)


@pytest.mark.parametrize("option", ["image_column", "label_column", "config"])
@pytest.mark.parametrize("make", [None, npz, image_folder])
def test_options_without_meaning(tmp_path, option, make):
    name = make(tmp_path) if make else "digits"
    with pytest.raises(DataError, match=f"{option}='x' has no meaning here"):
        load(name, **{option: "x"})


def test_a_path_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parquet(tmp_path)
    Path("toy").rename("digits")
    assert load("digits").input_shape == (3, 6, 5)
    Path("org").mkdir()
    Path("digits").rename("org/toy")
    assert load("org/toy").description == "toy"


def test_description_of_relative_paths(tmp_path, monkeypatch):
    parquet(tmp_path)
    (tmp_path / "toy" / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "toy" / "sub")
    assert load("..").description == "toy"
    monkeypatch.chdir(tmp_path / "toy")
    assert load(".").description == "toy"


@pytest.mark.parametrize("name", LOSSLESS_ORIGINALS)
def test_jpeg_copies_of_exact_originals(name):
    display = LOSSLESS_ORIGINALS[name]
    for spelling in (name, name.upper(), display, f"someone/{display}", display.replace("-", "_")):
        assert description(spelling, frozenset({"JPEG"})) == f"{display}, JPEG re-encoding"
        for exact in ("PNG", "WEBP"):
            assert description(spelling, frozenset({exact})) == display
            assert (
                description(spelling, frozenset({exact}), own_split=True) == f"{display}, own split"
            )


def test_other_jpeg_images():
    assert description("birds", frozenset({"PNG", "JPEG"})) == "birds (JPEG and PNG images)"
    assert description("birds", frozenset({"PNG"}), own_split=True) == "birds"


@pytest.mark.parametrize(
    ("splits", "kind", "name"),
    [
        (("train", "test"), "PNG", "CIFAR-10"),
        (("train",), "PNG", "CIFAR-10, own split"),
        (("train", "test"), "JPEG", "CIFAR-10, JPEG re-encoding"),
        (("train",), "JPEG", "CIFAR-10, JPEG re-encoding, own split"),
    ],
)
def test_a_test_split_that_is_cut_here_is_said(tmp_path, splits, kind, name):
    for split in splits:
        write_parquet(tmp_path / "cifar10" / f"{split}-0.parquet", pixels(40), LABELS, kind=kind)
    assert load(tmp_path / "cifar10", cache=False).description == name


@pytest.mark.parametrize("name", ["cifar100", "owner/CIFAR-100"])
def test_a_copy_that_is_known_to_be_divided_anew(name, monkeypatch):
    images = pixels(4)
    digest = hashlib.blake2b(images.tobytes(), digest_size=8).hexdigest()
    monkeypatch.setitem(OWN_SPLITS, "cifar100", frozenset({digest}))
    labels = np.zeros(4, dtype=np.int64)

    def own(test):
        splits = {"train": Examples(images, labels), "test": Examples(test, labels)}
        return _own_split(name, Source(splits, ("a",)))

    assert own(images)
    assert own(np.asfortranarray(images))
    assert not own(images[::-1])
    assert not own(pixels(4, seed=1))


@pytest.mark.parametrize(
    ("name", "display", "classes"), [("cifar10", "CIFAR-10", 10), ("cifar100", "CIFAR-100", 100)]
)
def test_cifar_is_called_what_it_is(tmp_path, name, display, classes):
    if not (SHARED / name).is_dir():
        pytest.skip(f"shared data set {name} is not beside the checkout")
    (stored,) = (SHARED / name).glob("test-*.parquet")
    folder = tmp_path / name
    folder.mkdir()
    (folder / "train-0.parquet").symlink_to(stored)
    data = load(folder, validation=0.1, test=0.2, cache=False)
    assert data.description == f"{display}, own split"
    of_each = 10_000 // classes
    for split, share in ((data.train, 0.7), (data.validation, 0.1), (data.test, 0.2)):
        assert split.labels.bincount().tolist() == [round(share * of_each)] * classes
    (folder / "test-0.parquet").symlink_to(stored)
    kept = load(folder, validation=0.1, cache=False)
    assert kept.description == (display if name == "cifar10" else f"{display}, own split")
