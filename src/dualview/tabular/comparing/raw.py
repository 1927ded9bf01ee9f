"""Columns of CSV and Parquet files and of pandas tables, as numbers or text, each cell looked at.

Of a file whose cells are wrong, a message names row and column as the reader of the file finds
them: the line of a CSV file, the row (from 0) of a Parquet file, the index of a pandas table.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualview.datasets.parquet import open_table
from dualview.errors import TableError, need
from dualview.files.opening import bytes_of, told_by_system
from dualview.files.room import room, said

MOST_COLUMNS = 5_000
MOST_LETTERS = 10_000
"""Of one cell."""
MOST_CSV = 4 * 2**30
"""Bytes of a CSV file."""
BYTES_OF_CELL = 100
"""About what a cell takes while it is read as text, in memory."""
BYTES_OF_LETTER = 16
"""About what a byte of a CSV file takes while it is read, its cells being short."""

SEPARATORS = ",;\t|"
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""Cells of CSV files that say nothing, in small letters."""


@dataclass(frozen=True, eq=False)
class RawColumns:
    """Columns as they were found.

    Attributes:
        where: how messages name the file.
        cells: name -> (rows,): float64, where NaN is missing; or objects, text or None.
        place: number of a row, from 0 -> how messages name it.
        refused: name -> why a column can be used for nothing.
        rows: how many.
    """

    where: str
    cells: Mapping[str, np.ndarray]
    place: Callable[[int], str]
    refused: Mapping[str, str]
    rows: int


def read_columns(data: Any) -> RawColumns:
    """The columns of a path (.csv, .tsv, .txt, .parquet) or a pandas table.

    Raises:
        TableError: it is none of them, or its cells do not make a table.
        DataError: a Parquet file cannot be read.
    """
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        return _of_frame(data)
    path = Path(data)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _of_parquet(path)
    if suffix in (".csv", ".tsv", ".txt"):
        return _of_csv(path)
    raise TableError(
        f"{path}: expected a file .csv, .tsv, .txt or .parquet, got {suffix or 'no suffix'}"
    )


def _of_csv(path: Path) -> RawColumns:
    text = _text_of(path)
    head = text.partition("\n")[0]
    separator = max(SEPARATORS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines: list[int] = []
    rows: list[list[str]] = []
    names: list[str] | None = None
    try:
        for cells in filter(None, reader):  # lines that are not empty
            if names is None:
                names = _checked_names(cells, str(path))
            elif len(cells) != len(names):
                raise TableError(
                    f"{path}, line {reader.line_num}: expected {len(names)} cells, as the first "
                    f"line has them, got {len(cells)}"
                )
            else:
                rows.append(cells)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise TableError(f"{path}, line {reader.line_num}: expected CSV, got: {error}") from None
    if names is None or not rows:
        raise TableError(f"{path}: expected a line of names and rows under it, got no rows")
    columns = zip(names, zip(*rows, strict=True), strict=True)

    def at(row: int) -> str:
        return f"{path}, line {lines[row]}"

    found = {name: _numbers_or_text(cells, name, at) for name, cells in columns}
    return RawColumns(str(path), found, at, {}, len(rows))


def _text_of(path: Path) -> str:
    try:
        size = path.stat().st_size
        if BYTES_OF_LETTER * size > room():
            raise TableError(
                f"{path}: expected a file that fits into memory, got {said(size)}, which take "
                f"about {said(BYTES_OF_LETTER * size)} while they are read. Repair: fewer rows, "
                f"or a Parquet file"
            )
        return bytes_of(path, MOST_CSV).decode("utf-8-sig")
    except OSError as error:
        raise TableError(f"{path}: {told_by_system(error) or error}") from error
    except UnicodeDecodeError as error:
        raise TableError(
            f"{path}: expected text in UTF-8, got byte {error.object[error.start]:#04x} at "
            f"{error.start}. Repair: write it as UTF-8"
        ) from error


def _checked_names(names: list[str], where: str) -> list[str]:
    """Each once; one without letters is called by its number."""
    found = [name.strip() or f"column {number}" for number, name in enumerate(names, 1)]
    if len(found) > MOST_COLUMNS:
        raise TableError(f"{where}: expected at most {MOST_COLUMNS} columns, got {len(found)}")
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        raise TableError(f"{where}: expected names of columns, each once, got {twice!r} twice")
    return found


def _numbers_or_text(cells: tuple[str, ...], name: str, place: Callable[[int], str]) -> np.ndarray:
    """Numbers where nearly all known cells are; text where most are none."""
    stripped = [cell.strip() for cell in cells]
    known = [cell.lower() not in MISSING for cell in stripped]
    numbers = np.full(len(cells), np.nan)
    odd = []
    for row, cell in enumerate(stripped):
        if known[row]:
            try:
                numbers[row] = float(cell if "_" not in cell else "none")
            except ValueError:
                odd.append(row)
    if not odd:
        return numbers
    count = sum(known)
    if len(odd) <= count / 10 and count >= 10:
        raise TableError(
            f"{place(odd[0])}, column {name!r}: expected a number, as {count - len(odd)} of "
            f"{count} cells of the column are, got {stripped[odd[0]]!r}. Repair: correct it, "
            f"leave it empty, or name the column among categories"
        )
    text = np.empty(len(cells), dtype=object)
    for row, cell in enumerate(stripped):
        if len(cell) > MOST_LETTERS:
            raise TableError(
                f"{place(row)}, column {name!r}: expected at most {MOST_LETTERS} letters, got "
                f"{len(cell)}"
            )
        text[row] = cell if known[row] else None
    return text


def _of_parquet(path: Path) -> RawColumns:
    table = open_table(path)
    names = _checked_names(list(table.schema.names), str(path))
    needed = BYTES_OF_CELL * table.rows * len(names)
    if needed > room():
        raise TableError(
            f"{path}: expected a table that fits into memory, got {table.rows:,} rows of "
            f"{len(names)} columns, which take about {said(needed)}. Repair: fewer rows or columns"
        )
    found, refused = {}, {}
    for name, field in zip(names, table.schema, strict=True):
        if not _usable(field.type):
            refused[name] = f"expected numbers, text or booleans, got {field.type}"
            continue
        table.expect_room(field.name)
        parts = [
            _from_arrow(chunk, field.type, f"{path}, column {name!r}")
            for chunk in table.chunks(field.name)
        ]
        found[name] = np.concatenate(parts) if parts else np.empty(0)
    return RawColumns(str(path), found, f"{path}, row {{}}".format, refused, table.rows)


def _usable(kind: Any) -> bool:
    types = need("pyarrow", "train", "tables in Parquet files").types
    kind = kind.value_type if types.is_dictionary(kind) else kind
    numeric = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    text = types.is_string(kind) or types.is_large_string(kind)
    return bool(numeric or text or types.is_boolean(kind))


def _from_arrow(chunk: Any, kind: Any, where: str) -> np.ndarray:
    arrow = need("pyarrow", "train")
    compute, types = need("pyarrow.compute", "train"), arrow.types
    if types.is_dictionary(kind):
        chunk, kind = chunk.dictionary_decode(), kind.value_type
    if types.is_string(kind) or types.is_large_string(kind):
        longest = compute.max(compute.utf8_length(chunk)).as_py() or 0
        if longest > MOST_LETTERS:
            raise TableError(
                f"{where}: expected at most {MOST_LETTERS} letters in a cell, got {longest}"
            )
        return _texts(chunk.to_pylist())
    if types.is_boolean(kind):
        return _texts([None if v is None else str(v).lower() for v in chunk.to_pylist()])
    if types.is_decimal(kind):  # Arrow's own cast is a last digit off
        return np.array([np.nan if v is None else float(v) for v in chunk.to_pylist()])
    values = chunk.cast(arrow.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float64)


def _texts(values: list[str | None]) -> np.ndarray:
    return np.array([*values, None], dtype=object)[:-1]  # else NumPy takes None for a number


def _of_frame(frame: Any) -> RawColumns:
    pandas = need("pandas", "train", "a table of pandas")
    names = _checked_names([str(name) for name in frame.columns], "data")
    found, refused = {}, {}
    for number, name in enumerate(names):
        column = frame.iloc[:, number]
        kind = column.dtype
        if pandas.api.types.is_bool_dtype(kind):
            found[name] = _texts([None if v is pandas.NA else str(v).lower() for v in column])
        elif pandas.api.types.is_complex_dtype(kind):
            refused[name] = f"expected numbers, text or booleans, got {kind}"
        elif pandas.api.types.is_numeric_dtype(kind):
            found[name] = column.to_numpy(dtype=np.float64, na_value=np.nan)
        elif (
            isinstance(kind, pandas.CategoricalDtype | pandas.StringDtype) or str(kind) == "object"
        ):
            gone = column.isna().to_numpy()
            texts = [None if out else str(v) for v, out in zip(column, gone, strict=True)]
            found[name] = _texts(texts)
        else:
            refused[name] = f"expected numbers, text or booleans, got {kind}"
    labels = list(frame.index)
    return RawColumns("data", found, lambda row: f"data, row {labels[row]!r}", refused, len(frame))
