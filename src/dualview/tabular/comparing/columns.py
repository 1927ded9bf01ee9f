"""A table with a target: which columns are numbers, which are categories, which say nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dualview.errors import TableError, did_you_mean, need
from dualview.tabular.comparing.raw import RawColumns, read_columns
from dualview.tabular.comparing.settings import TableSettings

MOST_CLASSES = 100
FEW_VALUES = 10
"""Whole numbers of at most so many values are classes, where nobody says what they are."""
MOST_NAMES = 0.5
"""A column of text that has more values than this share of its rows names them."""
FEW_NAMES = 50
"""A column of text with at most so many values is never taken for names."""
LEAST_ROWS = 20
"""Of a table."""


@dataclass(frozen=True, eq=False)
class TargetTable:
    """Rows, and what is to be predicted of them.

    Attributes:
        where: the file, in messages.
        frame: a pandas table: float64 columns of numbers (NaN: missing), columns of text (None).
        target: (rows,) of float64, or of texts, the classes.
        target_name: of the column.
        classification: whether the target is classes.
        numbers: names of columns of numbers.
        categories: names of columns of text.
        left_out: columns that are not used, and why.
        rows_found: rows of the file; those of `frame` may be drawn from them.
        places: how messages name each row of `frame`.
    """

    where: str
    frame: Any
    target: np.ndarray
    target_name: str
    classification: bool
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    rows_found: int
    places: tuple[str, ...]


def read_table(data: Any, target: str, settings: TableSettings) -> TargetTable:
    """The table of a file, or of pandas, ready to be learnt from.

    Args:
        data: path of a .csv, .tsv, .txt or .parquet file, or a pandas table.
        target: name of the column to predict.
        settings: `task`, `categories`, `leave_out`, `most_rows`, `seed`, `folds` and `test` matter.

    Raises:
        TableError: no such column; a cell that is wrong; no target in a row; one class; too few
            rows; no column to learn from.
        DataError: a Parquet file cannot be read.
    """
    raw = read_columns(data)
    _expect_columns(raw, target, settings)
    chosen = _drawn(raw.rows, settings)
    wanted, classification = _target(raw, target, settings, chosen)
    numbers: dict[str, np.ndarray] = {}
    categories: dict[str, np.ndarray] = {}
    left_out = [(name, "as asked") for name in settings.leave_out]
    for name, reason in raw.refused.items():
        if name not in settings.leave_out:
            raise TableError(f"{raw.where}, column {name!r}: {reason}. Repair: leave it out")
    for name, cells in raw.cells.items():
        if name == target or name in settings.leave_out:
            continue
        cells = _finite(raw, name, cells)[chosen]
        if name in settings.categories and cells.dtype == np.float64:
            cells = as_labels(cells)
        useless = _useless(cells)
        if useless:
            left_out.append((name, useless))
        elif cells.dtype == np.float64:
            numbers[name] = cells
        else:
            categories[name] = cells
    if not numbers and not categories:
        said = "; ".join(f"{name}: {why}" for name, why in left_out) or "no others"
        raise TableError(
            f"{raw.where}: expected columns beside {target!r} to learn from, got {said}"
        )
    _expect_apart(raw.where, [*numbers, *categories])
    pandas = need("pandas", "train", "comparing on a table")
    return TargetTable(
        where=raw.where,
        frame=pandas.DataFrame({**numbers, **categories}),
        target=wanted,
        target_name=target,
        classification=classification,
        numbers=tuple(numbers),
        categories=tuple(categories),
        left_out=tuple(left_out),
        rows_found=raw.rows,
        places=tuple(raw.place(row).rpartition(", ")[2] for row in chosen.tolist()),
    )


def _expect_columns(raw: RawColumns, target: str, settings: TableSettings) -> None:
    names = [*raw.cells, *raw.refused]
    for option, name in (
        ("target", target),
        *(("categories", name) for name in settings.categories),
        *(("leave_out", name) for name in settings.leave_out),
    ):
        if name not in names:
            raise TableError(
                f"{option}: expected a column of {raw.where} ({_listed(names)}), got {name!r}"
                f"{did_you_mean(name, names)}"
            )
    if target in settings.leave_out:
        raise TableError(f"leave_out: expected columns beside the target, got {target!r}")
    if target in raw.refused:
        raise TableError(f"{raw.where}, column {target!r}: {raw.refused[target]}")
    if raw.rows < LEAST_ROWS:
        raise TableError(f"{raw.where}: expected at least {LEAST_ROWS} rows, got {raw.rows}")


def _expect_apart(where: str, names: list[str]) -> None:
    """Prepared columns are called "COLUMN = VALUE"; no other column may be."""
    for name in names:
        clash = next((one for one in names if name.startswith(f"{one} = ")), None)
        if clash is not None:
            raise TableError(
                f"{where}, column {name!r}: expected a name unlike those of the values of "
                f"{clash!r}. Repair: rename it"
            )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _drawn(rows: int, settings: TableSettings) -> np.ndarray:
    """Numbers of the rows that are used, in their order."""
    if rows <= settings.most_rows:
        return np.arange(rows)
    drawn = np.random.default_rng(settings.seed).choice(rows, settings.most_rows, replace=False)
    return np.sort(drawn)


def _target(
    raw: RawColumns, name: str, settings: TableSettings, chosen: np.ndarray
) -> tuple[np.ndarray, bool]:
    """The target's values of the chosen rows, and whether they are classes."""
    cells = _finite(raw, name, raw.cells[name])
    numeric = cells.dtype == np.float64
    gone = np.isnan(cells) if numeric else np.array([cell is None for cell in cells])
    if gone.any():
        row = int(np.flatnonzero(gone)[0])
        raise TableError(
            f"{raw.place(row)}, column {name!r}: expected a target in every row, got none in "
            f"{int(gone.sum())} of {len(cells)}. Repair: remove these rows"
        )
    classes = settings.task == "classification"
    if settings.task == "auto":
        whole = numeric and bool((cells == np.round(cells)).all())
        classes = not numeric or (whole and len(np.unique(cells)) <= FEW_VALUES)
    if not classes:
        if not numeric:
            row = next(i for i, cell in enumerate(cells) if not _is_number(cell))
            raise TableError(
                f"{raw.place(row)}, column {name!r}: expected a number to predict, got "
                f"{cells[row]!r}. Repair: task classification"
            )
        if len(np.unique(cells[chosen])) < 2:
            raise TableError(
                f"{raw.where}, column {name!r}: expected targets that differ, got {cells[0]:g} in "
                f"every row"
            )
        return cells[chosen], False
    labels = as_labels(cells) if numeric else cells
    _expect_classes(raw, name, labels[chosen], settings)
    return labels[chosen].astype(str), True


def _expect_classes(
    raw: RawColumns, name: str, labels: np.ndarray, settings: TableSettings
) -> None:
    found, counts = np.unique(labels.astype(str), return_counts=True)
    where = f"{raw.where}, column {name!r}"
    if len(found) < 2:
        raise TableError(
            f"{where}: expected at least 2 classes, got {str(found[0])!r} in every row"
        )
    if len(found) > MOST_CLASSES:
        raise TableError(
            f"{where}: expected at most {MOST_CLASSES} classes, got {len(found)}. Repair: task "
            f"regression if it is a number, or join classes"
        )
    least = int(counts.argmin())
    # One for each fold is left when the rows for the end are held out.
    needed = int(np.ceil((settings.folds + 1) / (1 - settings.test)))
    if counts[least] < needed:
        raise TableError(
            f"{where}: expected at least {needed} rows of each class for {settings.folds} folds, "
            f"got {counts[least]} of {str(found[least])!r}. Repair: fewer folds, or "
            f"join or remove rare classes"
        )


def _finite(raw: RawColumns, name: str, cells: np.ndarray) -> np.ndarray:
    """The cells of a column, none of them infinite."""
    if cells.dtype == np.float64 and np.isinf(cells).any():
        row = int(np.flatnonzero(np.isinf(cells))[0])
        raise TableError(
            f"{raw.place(row)}, column {name!r}: expected a finite number, got {cells[row]}. "
            f"Repair: correct it, or leave it empty if it is not known"
        )
    return cells


def as_labels(cells: np.ndarray) -> np.ndarray:
    """Numbers as texts, whole ones without a point; NaN as None.

    >>> as_labels(np.array([1.0, 2.5, np.nan])).tolist()
    ['1', '2.5', None]
    """
    found = np.empty(len(cells), dtype=object)
    for row, cell in enumerate(cells.tolist()):
        if not np.isnan(cell):
            found[row] = str(int(cell)) if cell.is_integer() else repr(cell)
    return found


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _useless(cells: np.ndarray) -> str | None:
    """Why a column can teach nothing; None: it can."""
    if cells.dtype == np.float64:
        known = cells[~np.isnan(cells)]
        whole = len(known) == len(cells) and bool((np.diff(known) == 1).all())
        if whole and len(cells) >= LEAST_ROWS:
            return "it counts the rows"
        return _constant(len(np.unique(known)), len(cells) - len(known))
    texts = [cell for cell in cells if cell is not None]
    values = len(set(texts))
    if values > FEW_NAMES and values > MOST_NAMES * len(cells):
        return f"text with {values} values in {len(cells)} rows, which names them"
    return _constant(values, len(cells) - len(texts))


def _constant(values: int, missing: int) -> str | None:
    if values == 0:
        return "it is empty"
    return "it has one value" if values == 1 and not missing else None
