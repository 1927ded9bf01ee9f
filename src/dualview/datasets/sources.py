"""`load`: from a name or a path to a `Dataset` with three splits."""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np

from dualview.arguments import file_path, flag, fraction, optional, seed_number, takes, text_value
from dualview.datasets.dataset import Dataset, Source
from dualview.datasets.digits import read_digits
from dualview.datasets.hub import read_hub
from dualview.datasets.image_folder import read_image_folder
from dualview.datasets.npz import read_npz
from dualview.datasets.parquet import has_parquet, read_parquet
from dualview.datasets.splits import completed
from dualview.datasets.tables import Columns
from dualview.errors import DataError
from dualview.files.hub import is_hub_name

ACCEPTED = (
    "'digits', a folder of Parquet files (train-*.parquet), a Parquet or .npz file, a folder of "
    "images (class/*.png or train/class/*.png), or a data set of the hub ('organisation/name')"
)

LOSSLESS_ORIGINALS = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "mnist": "MNIST",
    "fashionmnist": "Fashion-MNIST",
    "svhn": "SVHN",
    "stl10": "STL-10",
}
"""Well-known data sets whose originals are exact pixels, so that JPEG files of them are copies with
a loss, which every report has to say."""

OWN_SPLITS = {
    "cifar100": frozenset({"215d889d6465bb3d"}),
}
"""Digests of the test images of copies that were divided anew, since the division was lost."""


def _name_or_path(value: Any) -> Any:
    """A check as `dualview.arguments` has them: a name or a path, as it was given."""
    file_path(value)
    return value


@takes(
    DataError,
    name_or_path=_name_or_path,
    validation=fraction,
    test=fraction,
    seed=seed_number,
    image_column=optional(text_value),
    label_column=optional(text_value),
    config=optional(text_value),
    cache=flag,
)
def load(
    name_or_path: str | Path,
    *,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    image_column: str | None = None,
    label_column: str | None = None,
    config: str | None = None,
    cache: bool = True,
) -> Dataset:
    """Load labelled images, and cut the splits that are missing.

    A path that exists is read as what it is; otherwise the argument is a name. Splits that the
    source has are kept as they are. Those it lacks are cut from its train split, stratified by
    class; the draw depends on `seed` and the labels alone.

    Args:
        name_or_path: "digits" (scikit-learn's, needs no download); a folder of Parquet files in
            the hub's layout, or one Parquet file; a folder of images; an `.npz` file with `x` and
            `y`; or a data set of the Hugging Face hub, "organisation/name".
        validation: share of the source's train split that becomes the validation split where the
            source has none; between 0 and 1.
        test: the same for the test split.
        seed: of the splits.
        image_column: column of images in Parquet and hub data; found by type if None.
        label_column: column of labels; found by name and metadata if None.
        config: which configuration of Parquet and hub data that have several.
        cache: keep decoded images in `$DUALVIEW_CACHE` or the user's cache folder.

    Returns:
        The data, in memory on the CPU: uint8 images where the source has 8-bit pixels, else
        float32 ones.

    Raises:
        DataError: nothing usable there, or damaged or inconsistent data; the message names the
            file, and the row where that helps.
        MissingExtraError: reading this needs a library that is not installed.

    >>> data = load("digits")
    >>> data.input_shape, data.n_classes, len(data.train), len(data.validation), len(data.test)
    ((1, 8, 8), 10, 1258, 180, 359)
    """
    columns = Columns(image_column, label_column)
    try:
        source, name = _read(name_or_path, columns, config, cache=cache)
    except MemoryError as error:
        raise DataError(
            f"{name_or_path}: no memory left to read it; use fewer examples, or raise the limit "
            f"(ulimit -v, prlimit --as)"
        ) from error
    except OSError as error:  # a folder without permission, a disk that fails
        raise DataError(f"{name_or_path}: cannot be read: {error}") from error
    shares = {"validation": validation, "test": test}
    named = description(name, source.formats, own_split=_own_split(name, source))
    return completed(source, shares, seed, str(name_or_path), named)


def description(name: str, formats: frozenset[str], *, own_split: bool = False) -> str:
    """How reports name the data; a loss by JPEG is always said.

    Args:
        name: of its folder, file or data set.
        formats: encodings of the images.
        own_split: the test split is not that of the original, which matters where it is well known.

    >>> description("cifar10", frozenset({"PNG"}))
    'CIFAR-10'
    >>> description("cifar100", frozenset({"WEBP"}), own_split=True)
    'CIFAR-100, own split'
    >>> description("cifar10", frozenset({"JPEG"}))
    'CIFAR-10, JPEG re-encoding'
    >>> description("holidays", frozenset({"JPEG"}))
    'holidays (JPEG images)'
    """
    known = LOSSLESS_ORIGINALS.get(_plain(name))
    if known is not None:
        lossy = ", JPEG re-encoding" if "JPEG" in formats else ""
        return known + lossy + (", own split" if own_split else "")
    if "JPEG" in formats:
        return f"{name} ({' and '.join(sorted(formats))} images)"
    return name


def _plain(name: str) -> str:
    """A name without its owner, and without what spellings differ in."""
    return re.sub(r"[\W_]", "", name.rpartition("/")[2].lower())


def _own_split(name: str, source: Source) -> bool:
    """Whether the test split is cut here, or known not to be the original's."""
    if "test" not in source.splits:
        return True
    digests = OWN_SPLITS.get(_plain(name), frozenset())
    if not digests:
        return False
    pixels = np.ascontiguousarray(source.splits["test"].images)
    return hashlib.blake2b(pixels.data, digest_size=8).hexdigest() in digests


def _read(
    name_or_path: str | Path, columns: Columns, config: str | None, *, cache: bool
) -> tuple[Source, str]:
    """The source, and the name that reports use."""
    path, name = Path(name_or_path), str(name_or_path)
    with contextlib.suppress(RuntimeError):  # no such user: then it is a name like any other
        path = path.expanduser()
    if path.exists():
        return _read_path(path, columns, config, cache=cache)
    if name == "digits":
        _expect_no_options(name, columns, config)
        return read_digits(), name
    if (
        isinstance(name_or_path, str)
        and is_hub_name(name)
        and path.suffix not in (".npz", ".parquet")
    ):
        return read_hub(name, columns, config, cache=cache), name
    raise DataError(f"{name}: no such file, folder or data set; expected {ACCEPTED}")


def _read_path(
    path: Path, columns: Columns, config: str | None, *, cache: bool
) -> tuple[Source, str]:
    if path.is_dir():
        name = path.absolute().name if path.name != ".." else path.resolve().name
        if has_parquet(path):
            return read_parquet(path, columns, config, cache=cache), name
        _expect_no_options(str(path), columns, config)
        return read_image_folder(path, cache=cache), name
    if path.suffix == ".parquet":
        return read_parquet(path, columns, config, cache=cache), path.stem
    _expect_no_options(str(path), columns, config)
    if path.suffix == ".npz":
        return read_npz(path), path.stem
    raise DataError(f"{path}: cannot be read as data; expected {ACCEPTED}")


def _expect_no_options(name: str, columns: Columns, config: str | None) -> None:
    options = {"image_column": columns.image, "label_column": columns.label, "config": config}
    for option, value in options.items():
        if value is not None:
            raise DataError(
                f"{name}: {option}={value!r} has no meaning here, only for Parquet files and data "
                "sets of the hub; leave it out"
            )
