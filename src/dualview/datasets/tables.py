"""Tables of encoded images, as Parquet files and the hub's data sets hold them.

One column is a struct with a binary field `bytes` (the encoded image), another holds whole-number
labels. Columns are found by type and name; where two would do, the caller has to choose.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualview.datasets.dataset import Examples, Source
from dualview.datasets.decode import MOST_ENCODED, Encoded, decode_images, expect_room, too_long
from dualview.datasets.labels import checked_labels, numbered_classes
from dualview.errors import DataError, need

IMAGE_NAMES = ("image", "img")
LABEL_NAMES = ("label", "labels", "fine_label")


@dataclass(frozen=True)
class Columns:
    """Which columns to read. None: find it."""

    image: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class RawTable:
    """One Parquet file, or one split of a data set of the hub."""

    where: str
    """How messages name it."""
    schema: Any
    """`pyarrow.Schema`."""
    rows: int
    chunks: Callable[[str], Iterator[Any]]
    """Name of a column → its `pyarrow.Array`s, in order."""
    expect_room: Callable[[str], None] = lambda column: None
    """Name of a column → an error if its metadata tell of more than can be read."""
    may_point_to_files: bool = False
    """Whether an image may be a path without bytes: true only for the hub's own cache."""


def read_tables(splits: Mapping[str, Sequence[RawTable]], columns: Columns, title: str) -> Source:
    """Read every split; labels are checked before any image is decoded.

    Args:
        splits: the tables of each split, in order; "train" among them.
        columns: the caller's choice.
        title: label of the progress bar.

    Raises:
        DataError: columns missing, ambiguous or of a wrong type; labels outside the classes; an
            empty split; images that are missing, damaged or unlike the others.
    """
    tables = [table for group in splits.values() for table in group]
    first = tables[0]
    chosen = [(image_column(t, columns.image), label_column(t, columns.label)) for t in tables]
    image, label = chosen[0]
    names = class_names(first).get(label)
    for group in splits.values():
        _expect_room(group, image)
    for table, choice in zip(tables, chosen, strict=True):
        if choice != (image, label) or class_names(table).get(label) != names:
            raise DataError(
                f"{table.where}: its image and label columns, or its class names, are not those of "
                f"{first.where}; keep only files of one data set"
            )
    labels = {
        split: np.concatenate([_labels(table, label, names) for table in group])
        for split, group in splits.items()
    }
    for split, values in labels.items():
        if not len(values):
            raise DataError(f"{splits[split][0].where}: the {split} split has no rows")
    names = names or numbered_classes(labels, first.where)
    examples, formats = {}, frozenset[str]()
    for split, group in splits.items():
        encoded = (item for table in group for item in _encoded(table, image))
        images, met = decode_images(encoded, len(labels[split]), f"{title} {split}")
        examples[split] = Examples(images, labels[split])
        formats |= met
    return Source(examples, names, formats)


def _expect_room(group: Sequence[RawTable], image: str) -> None:
    """Refuse a split that would not fit into memory, by its first image and its rows.

    Some megabytes of Parquet can hold hundreds of millions of rows.
    """
    for table in group:
        table.expect_room(image)
    first = next((item for table in group for item in _encoded(table, image, most=1)), None)
    if first is not None:
        expect_room(first, sum(table.rows for table in group), group[0].where)


def image_column(table: RawTable, chosen: str | None) -> str:
    """Name of the column of images.

    The caller's choice; else the only struct column with a binary field `bytes`, or among several
    the only one called image or img.

    Raises:
        DataError: no such column, or several.
    """
    able = [field.name for field in table.schema if _holds_images(field.type)]
    if chosen is not None:
        if chosen in able:
            return chosen
        raise DataError(
            f"{table.where}: image_column={chosen!r} is not a column of encoded images (struct "
            f"with bytes); {_listing(table, able)}"
        )
    return _only(able, IMAGE_NAMES, table, "image", "encoded images (struct with bytes)")


def label_column(table: RawTable, chosen: str | None) -> str:
    """Name of the column of labels.

    The caller's choice; else the only column called label, labels or fine_label, or the only one
    that the hub's metadata declares as a class label.

    Raises:
        DataError: no such column, or several, or one that does not hold whole numbers.
    """
    if chosen is None:
        declared = class_names(table)
        able = [n for n in table.schema.names if n in LABEL_NAMES or n in declared]
        chosen = _only(able, LABEL_NAMES, table, "label", "labels")
    elif chosen not in table.schema.names:
        raise DataError(
            f"{table.where}: label_column={chosen!r} is not among the columns; "
            f"{_listing(table, table.schema.names)}"
        )
    (kind, *_) = [field.type for field in table.schema if field.name == chosen]
    if not need("pyarrow", "train").types.is_integer(kind):
        raise DataError(
            f"{table.where}: expected whole-number labels in column {chosen!r}, got {kind}; "
            "store class numbers from 0, or name another column with label_column"
        )
    return chosen


def class_names(table: RawTable) -> dict[str, tuple[str, ...]]:
    """Columns that the schema's `huggingface` metadata declares as class labels, and their names.

    Raises:
        DataError: the metadata cannot be read.
    """
    text = (table.schema.metadata or {}).get(b"huggingface")
    if text is None:
        return {}
    try:
        features = json.loads(text)["info"]["features"]
        declared = {
            column: tuple(feature["names"])
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{table.where}: damaged 'huggingface' metadata in the schema") from error
    for column, names in declared.items():
        if not names or not all(isinstance(name, str) for name in names):
            raise DataError(f"{table.where}: expected names of classes for column {column!r}")
    return declared


def _only(
    able: list[str], preferred: Sequence[str], table: RawTable, what: str, meaning: str
) -> str:
    """The one column to take, by name where the type alone leaves a choice."""
    named = [name for name in able if name in preferred]
    for candidates in (named, able):
        if len(candidates) == 1:
            return candidates[0]
    if not able:
        raise DataError(
            f"{table.where}: no column holds {meaning}; it has {', '.join(table.schema.names)}; "
            f"name one with {what}_column"
        )
    raise DataError(
        f"{table.where}: {', '.join(able)} could all be the {what} column; "
        f"choose one with {what}_column"
    )


def _listing(table: RawTable, able: Sequence[str]) -> str:
    return f"expected one of {', '.join(able) or 'none'} (columns: {', '.join(table.schema.names)})"


def _holds_images(kind: Any) -> bool:
    types = need("pyarrow", "train").types
    position = kind.get_field_index("bytes") if types.is_struct(kind) else -1
    if position < 0:
        return False
    content = kind.field(position).type
    return bool(types.is_binary(content) or types.is_large_binary(content))


def _labels(table: RawTable, column: str, names: Sequence[str] | None) -> np.ndarray:
    where = f"{table.where}, column {column!r}"
    pieces: list[np.ndarray] = []
    for chunk in table.chunks(column):
        if chunk.null_count:
            row = sum(len(piece) for piece in pieces) + chunk.is_null().index(True).as_py()
            raise DataError(f"{where}, row {row}: the label is missing")
        pieces.append(chunk.to_numpy(zero_copy_only=False))
    values = np.concatenate(pieces) if pieces else np.empty(0, dtype=np.int64)
    if len(values) != table.rows:
        raise DataError(f"{where}: expected {table.rows} rows, found {len(values)}")
    return checked_labels(values, names, where)


def _encoded(table: RawTable, column: str, most: int | None = None) -> Iterator[Encoded]:
    """The images, or the first `most` of them."""
    compute = need("pyarrow.compute", "train")
    field, length = compute.struct_field, compute.binary_length
    row = 0
    for chunk in table.chunks(column):
        for position, content in enumerate(field(chunk, "bytes")):
            where = f"{table.where}, row {row}"
            if content.is_valid:
                size = length(content).as_py()
                if size > MOST_ENCODED:
                    raise DataError(f"{where}: {too_long(size)}")
                yield Encoded(where, content.as_py())
            else:
                yield Encoded(where, _path(chunk[position].as_py(), table, where))
            row += 1
            if row == most:
                return
    if row != table.rows:
        raise DataError(f"{table.where}: expected {table.rows} rows, found {row}")


def _path(value: Mapping[str, Any] | None, table: RawTable, where: str) -> Path:
    """File of an image that has no bytes, which only the hub's own cache may ask us to open."""
    path = value and value.get("path")
    if table.may_point_to_files and path:
        return Path(path)
    raise DataError(
        f"{where}: the image is missing"
        + ("; only its path is given: store the encoded bytes" if path else "")
    )
