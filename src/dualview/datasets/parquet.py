"""Folders of Parquet files in the layout of the Hugging Face hub.

The files of a split are `train-*.parquet`, `validation-*.parquet` and `test-*.parquet`, directly in
the folder, in `data/`, or in one folder per configuration; or `<split>/*.parquet` in those places,
as the hub's converted branch has them. A single file serves as the train split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from dualview.datasets.cache import cache_key, cached
from dualview.datasets.dataset import SPLIT_ALIASES, SPLIT_NAMES, Source
from dualview.datasets.decode import MOST_ENCODED, too_long
from dualview.datasets.tables import Columns, RawTable, read_tables
from dualview.errors import DataError, need
from dualview.files.opening import expect_file, told_by_system
from dualview.files.room import room, said

T = TypeVar("T")

BATCH_BYTES = 2**29
"""At most of one batch of rows, in memory."""

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\b")


def read_parquet(path: Path, columns: Columns, config: str | None, *, cache: bool) -> Source:
    """Read every split at `path`, a folder or one Parquet file that exists.

    Args:
        path: where the files are.
        columns: which columns to read.
        config: the configuration's folder, where there are several.
        cache: keep the decoded images, see `dualview.datasets.cache`.

    Raises:
        DataError: no train files, missing shards, several configurations, a file that cannot be
            read, or what `read_tables` refuses.
    """
    files = split_files(path, config)

    def read() -> Source:
        tables = {split: [open_table(file) for file in group] for split, group in files.items()}
        return read_tables(tables, columns, path.name)

    if not cache:
        return read()
    paths = [file for group in files.values() for file in group]
    options = {"reader": "parquet", "image": columns.image, "label": columns.label}
    # which split a file belongs to follows from its path, which is part of the key
    return cached(cache_key(paths, options), read)


def has_parquet(root: Path) -> bool:
    """Whether a folder holds Parquet files where the hub's layout has them."""
    return any(True for depth in ("", "*/", "*/*/") for _ in root.glob(f"{depth}*.parquet"))


def split_files(path: Path, config: str | None) -> dict[str, list[Path]]:
    """Files of each split, in the order of their names; "train" is always there.

    Raises:
        DataError: see `read_parquet`.
    """
    if not path.is_dir():
        return {"train": [path]}
    folder = _folder(path, config)
    found: dict[str, list[Path]] = {}
    others = []
    for file in sorted([*folder.glob("*.parquet"), *folder.glob("*/*.parquet")]):
        split = _split_of(file, folder)
        if split is None:
            others.append(file.name)
        else:
            found.setdefault(split, []).append(file)
    if "train" not in found:
        names = [file.name for group in found.values() for file in group] + others
        raise DataError(
            f"{folder}: expected train-*.parquet, found {', '.join(sorted(names)[:5])}; "
            "rename the training files, or give the path of one file"
        )
    for group in found.values():
        _expect_all_shards(group)
    return {split: found[split] for split in SPLIT_NAMES if split in found}


def open_table(path: Path) -> RawTable:
    """Read a file's schema; its columns are read when asked for.

    Raises:
        DataError: it is no Parquet file, or a damaged one.
    """
    parquet = need("pyarrow.parquet", "train")
    _expect_text(path)
    _guard(path, lambda: expect_file(path))
    file = _guard(path, lambda: parquet.ParquetFile(path, page_checksum_verification=True))
    schema = _guard(path, lambda: file.schema_arrow)
    _guard(path, lambda: schema.names)  # not text in a damaged file
    return RawTable(
        where=str(path),
        schema=schema,
        rows=file.metadata.num_rows,
        chunks=lambda column: _chunks(file, column, path),
        expect_room=lambda column: _expect_room(file, column, path),
    )


def _expect_text(path: Path) -> None:
    """Arrow opens files by names in UTF-8 only."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{str(path)!a}: expected a name in UTF-8, as Arrow needs it for Parquet files; "
            f"rename the file or its folder"
        ) from error


def _sizes(file: Any, column: str) -> Iterator[tuple[int, int, int]]:
    """Number of each row group, its rows, and the column's bytes in it before compression."""
    metadata = file.metadata
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = (group.column(k) for k in range(group.num_columns))
        own = (c for c in chunks if c.path_in_schema.split(".")[0] == column)
        yield number, group.num_rows, sum(max(0, chunk.total_uncompressed_size) for chunk in own)


def _expect_room(file: Any, column: str, path: Path) -> None:
    """Refuse row groups of images that are larger than any image, or than memory."""
    free = room()
    for number, rows, size in _guard(path, lambda: list(_sizes(file, column))):
        where = f"{path}, row group {number}, column {column!r}"
        if size > rows * MOST_ENCODED:
            raise DataError(f"{where}, {rows:,} row(s): {too_long(size // max(rows, 1))}")
        if 2 * size > free:
            raise DataError(
                f"{where}: {said(size)} have to be read at once, and {said(free)} of memory are "
                f"left; write the file with smaller row groups"
            )


def _chunks(file: Any, column: str, path: Path) -> Iterator[Any]:
    # A dictionary can make every row as long as the column's whole chunk.
    largest = max(
        (size for _, _, size in _guard(path, lambda: list(_sizes(file, column)))), default=0
    )
    rows = min(4096, max(1, BATCH_BYTES // max(largest, 1)))
    batches = _guard(path, lambda: file.iter_batches(columns=[column], batch_size=rows))
    while (batch := _guard(path, lambda: next(batches, None))) is not None:
        yield batch.column(0)


def _guard(path: Path, read: Callable[[], T]) -> T:
    """Damaged Parquet files raise Arrow's errors, or Python's when text or sizes are damaged."""
    arrow = need("pyarrow", "train")
    try:
        return read()
    except (arrow.ArrowException, OSError, ValueError, LookupError, MemoryError) as error:
        why = f"cannot be read as Parquet, it may be cut short or damaged: {error}"
        raise DataError(f"{path}: {told_by_system(error) or why}") from error


def _folder(root: Path, config: str | None) -> Path:
    """The folder that holds the splits: `root`, `root/data` or a configuration's."""
    if config is not None:
        chosen = root / config
        if not (chosen.is_dir() and has_parquet(chosen)):
            raise DataError(
                f"{root}: config={config!r} is no folder of Parquet files; expected one of "
                f"{', '.join(_configs(root)) or 'none'}"
            )
        return chosen
    if any(any((root / name).glob("*.parquet")) for name in ("", *SPLIT_ALIASES)):
        return root
    configs = _configs(root)
    if "data" in configs:
        return root / "data"
    if len(configs) != 1:
        raise DataError(
            f"{root}: several configurations ({', '.join(configs)}); choose one with config"
        )
    return root / configs[0]


def _configs(root: Path) -> list[str]:
    return sorted(
        p.name
        for p in root.iterdir()
        if p.is_dir() and (any(p.glob("*.parquet")) or any(p.glob("*/*.parquet")))
    )


def _split_of(file: Path, folder: Path) -> str | None:
    if file.parent != folder:
        return SPLIT_ALIASES.get(file.parent.name)
    return SPLIT_ALIASES.get(re.split(r"[-_.]", file.name)[0])


def _expect_all_shards(files: list[Path]) -> None:
    """`train-00000-of-00002` without its sister means a download that was cut short."""
    numbered: Mapping[Path, re.Match[str] | None] = {f: _SHARD.search(f.name) for f in files}
    found = {int(match[1]) for match in numbered.values() if match}
    totals = {int(match[2]) for match in numbered.values() if match}
    one_set = len(totals) == 1 and None not in numbered.values()
    if totals and not (one_set and found == set(range(max(totals)))):
        raise DataError(
            f"{files[0].parent}: expected every shard of one set ({max(totals)} files), found "
            f"{', '.join(file.name for file in files)}; fetch the missing files, remove the others"
        )
