"""Folders of images: `root/class/*.png`, or `root/train/class/*.png` with `test`, `validation`.

Classes are numbered in the alphabetical order of their folders' names. Hidden files are passed
over; any other file that is no image is refused, because a picture left out in silence is a wrong
answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dualview.datasets.cache import cache_key, cached
from dualview.datasets.dataset import SPLIT_ALIASES, Examples, Source
from dualview.datasets.decode import Encoded, decode_images
from dualview.errors import DataError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")

NOT_DATA = ("Thumbs.db", "desktop.ini")
"""Files that a system leaves in folders of images, beside hidden ones."""


def read_image_folder(root: Path, *, cache: bool) -> Source:
    """Read every split below `root`.

    Args:
        root: a folder that exists.
        cache: keep the decoded images, see `dualview.datasets.cache`.

    Raises:
        DataError: no classes, an empty class, a file that is no image, a class that the train
            split lacks, or an image that cannot be decoded like the others.
    """
    files = _files(root)
    class_names = tuple(sorted(files["train"]))
    for split, classes in files.items():
        if unknown := sorted(set(classes) - set(class_names)):
            raise DataError(
                f"{root}: the {split} split has a class {unknown[0]!r} without training images; "
                f"the train split has {', '.join(class_names)}"
            )

    def read() -> Source:
        splits, formats = {}, frozenset[str]()
        for split, classes in files.items():
            splits[split], met = _examples(classes, class_names, f"{root.name} {split}")
            formats |= met
        return Source(splits, class_names, formats)

    if not cache:
        return read()
    paths = [path for classes in files.values() for group in classes.values() for path in group]
    return cached(cache_key(paths, {"reader": "image folder", "root": str(root)}), read)


def _examples(
    classes: Mapping[str, list[Path]], class_names: tuple[str, ...], title: str
) -> tuple[Examples, frozenset[str]]:
    labels = [class_names.index(name) for name, group in classes.items() for _ in group]
    paths = [path for group in classes.values() for path in group]
    encoded = (Encoded(str(path), path) for path in paths)
    images, formats = decode_images(encoded, len(paths), title)
    return Examples(images, np.array(labels, dtype=np.int64)), formats


def _files(root: Path) -> dict[str, dict[str, list[Path]]]:
    """Files by split and class, in sorted order."""
    folders = _folders(root)
    if not folders:
        raise DataError(
            f"{root}: expected Parquet files (train-*.parquet) or one folder of images per class, "
            "found neither"
        )
    names = [folder.name for folder in folders]
    if not set(names) <= set(SPLIT_ALIASES):
        if "train" in names:
            others = ", ".join(sorted(set(names) - set(SPLIT_ALIASES)))
            raise DataError(
                f"{root}: the folder 'train' says that sub-folders are splits, but {others} is no "
                f"split ({', '.join(SPLIT_ALIASES)}); move it away, or rename the class 'train'"
            )
        return {"train": _classes(root, folders)}
    splits: dict[str, dict[str, list[Path]]] = {}
    for folder in folders:
        split = SPLIT_ALIASES[folder.name]
        if split in splits:
            raise DataError(f"{root}: two folders hold the {split} split; keep one of them")
        splits[split] = _classes(folder, _folders(folder))
    if "train" not in splits:
        raise DataError(f"{root}: expected a folder 'train' beside {', '.join(names)}")
    return splits


def _classes(parent: Path, folders: list[Path]) -> dict[str, list[Path]]:
    if not folders:
        raise DataError(f"{parent}: expected one folder of images per class, found none")
    return {folder.name: _images(folder) for folder in folders}


def _images(folder: Path) -> list[Path]:
    images = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_dir() or hidden or path.name in NOT_DATA:
            continue
        if path.suffix.lower() not in ENDINGS:
            raise DataError(
                f"{path}: expected an image ({', '.join(ENDINGS)}); convert it or move it away"
            )
        images.append(path)
    if not images:
        raise DataError(f"{folder}: expected the images of class {folder.name!r}, found none")
    return images


def _folders(parent: Path) -> list[Path]:
    return sorted(p for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))
