"""Data sets of the Hugging Face hub, through the `datasets` library (extra `hub`).

The library downloads and keeps the files; the images are decoded here, exactly as those of a local
Parquet folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dualview.datasets.cache import cache_key, cached
from dualview.datasets.dataset import SPLIT_ALIASES, SPLIT_NAMES, Source
from dualview.datasets.tables import Columns, RawTable, read_tables
from dualview.errors import DataError, need
from dualview.files.hub import expect_hub


def read_hub(name: str, columns: Columns, config: str | None, *, cache: bool) -> Source:
    """Download (once) and read a data set.

    Args:
        name: `organisation/name`.
        columns: which columns to read.
        config: the configuration, where there are several.
        cache: keep the decoded images, see `dualview.datasets.cache`.

    Raises:
        MissingExtraError: the `datasets` library is not installed.
        DataError: the hub does not answer, has no such data set, or what `read_tables` refuses.
    """
    need("datasets", "hub")
    expect_hub(name, DataError)
    return load_hub(name, columns, config, cache=cache)


def load_hub(name: str, columns: Columns, config: str | None, *, cache: bool) -> Source:
    """What `read_hub` does once the hub is known to answer; `name` may be a local folder too."""
    library = need("datasets", "hub")
    try:
        loaded = library.load_dataset(name, config)
    except Exception as error:  # the library raises many types: not found, gated, offline, full
        raise DataError(
            f"{name}: no such file or folder here, and the datasets library cannot load it from "
            f"the hub: {_first_lines(error)}"
        ) from error
    splits = {}
    for found, data in loaded.items():
        split = SPLIT_ALIASES.get(str(found))
        if split is not None:
            splits[split] = data
    if "train" not in splits:
        raise DataError(f"{name}: expected a train split, found {', '.join(map(str, loaded))}")
    splits = {split: splits[split] for split in SPLIT_NAMES if split in splits}

    def read() -> Source:
        tables = {split: [_table(data, f"{name}, {split}")] for split, data in splits.items()}
        return read_tables(tables, columns, name)

    files = [Path(f["filename"]) for data in splits.values() for f in data.cache_files]
    if not cache or not files:
        return read()
    options = {"reader": "hub", "image": columns.image, "label": columns.label}
    return cached(cache_key(files, options), read)


def _table(data: Any, where: str) -> RawTable:
    table = data.data.table

    def chunks(column: str) -> Iterator[Any]:
        return iter(table.column(column).chunks)

    schema = table.schema.with_metadata(data.features.arrow_schema.metadata)
    return RawTable(where, schema, table.num_rows, chunks, may_point_to_files=True)


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).splitlines()[:2]) or type(error).__name__
