"""Decoded sources kept on disk, so that images are decoded once.

One uncompressed `.npz` file (no pickle) per source, whose name is a hash of the source files'
paths, sizes and times of change, of the options, and of the format version. Files appear whole
(written beside, then renamed) or not at all, and one that cannot be read is made again. The folder
is `$DUALVIEW_CACHE`, or `dualview` in the user's cache folder; it may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from dualview.datasets.dataset import SPLIT_NAMES, Examples, Source
from dualview.errors import DataError, DualviewWarning
from dualview.files.opening import opened
from dualview.files.writing import sweep, write_atomically

FORMAT_VERSION = 1
"""Raise it whenever decoding, or the file below, changes."""


def cache_folder() -> Path:
    """Where decoded sources are kept; the folder may not exist yet."""
    if chosen := os.environ.get("DUALVIEW_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "dualview"


def cache_key(files: Iterable[Path], options: Mapping[str, str | None]) -> str:
    """Name that changes when a file (path, size, time of change) or an option does.

    Raises:
        DataError: a file is gone.
    """
    try:
        stamps = []
        for path in files:
            stat = path.stat()
            stamps.append((str(path.absolute()), stat.st_size, stat.st_mtime_ns))
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error
    text = json.dumps([FORMAT_VERSION, stamps, sorted(options.items())])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def cached(key: str, read: Callable[[], Source]) -> Source:
    """The source stored under `key`; else what `read` returns, stored for the next time.

    A damaged file is discarded and made again. Where nothing can be written, a warning says so and
    the source is returned all the same.
    """
    path = cache_folder() / f"{key}.npz"
    stored = _read(path)
    if stored is not None:
        return stored
    source = read()
    try:
        _write(path, source)
    except OSError as error:
        warnings.warn(
            f"decoded images are not kept, so the next start decodes them again: {path.parent} "
            f"cannot be written ({error.strerror}); choose another folder with DUALVIEW_CACHE",
            DualviewWarning,
            stacklevel=3,
        )
    return source


def _write(path: Path, source: Source) -> None:
    arrays = {
        "class_names": np.array(source.class_names, dtype=np.str_),
        "formats": np.array(sorted(source.formats), dtype=np.str_),
    }
    for name, examples in source.splits.items():
        arrays[f"images_{name}"] = examples.images
        arrays[f"labels_{name}"] = examples.labels
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    write_atomically(path, write, flush=False)  # its checksums tell of a loss of power


def _read(path: Path) -> Source | None:
    try:
        with opened(path) as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return _source(arrays)
    except FileNotFoundError:
        return None
    except Exception:  # whatever is wrong with it, it is made again
        with contextlib.suppress(OSError):
            path.unlink()
        return None


def _source(arrays: Mapping[str, np.ndarray]) -> Source:
    """The zip file's checksums have shown that the arrays are those that were written."""
    splits = {
        name: Examples(arrays[f"images_{name}"], arrays[f"labels_{name}"])
        for name in SPLIT_NAMES
        if f"images_{name}" in arrays
    }
    return Source(
        splits, tuple(arrays["class_names"].tolist()), frozenset(arrays["formats"].tolist())
    )
