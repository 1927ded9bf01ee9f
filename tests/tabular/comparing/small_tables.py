"""A small table of every sort of column, as a file and as it was compared, once for all tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas

from dualview.tabular.comparing.comparison import compare_table
from dualview.tabular.comparing.findings import TableComparison
from dualview.tabular.comparing.settings import TableSettings

SETTINGS = TableSettings(others=("linear",), folds=2, width=4, depth=3, max_depth=2)


def shop(rows: int = 60) -> pandas.DataFrame:
    """Who buys: by age, income (not always told) and town; `id` counts, `name` names."""
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "id": np.arange(1, rows + 1),
            "age": rng.integers(18, 90, rows),
            "income": rng.lognormal(10, 0.5, rows).round(2),
            "town": rng.choice(["Ulm", "Bonn", "<b>Kiel</b>"], rows),
            "member": rng.choice([True, False], rows),
        }
    )
    frame["buys"] = np.where(frame.income + 300 * frame.age > 38_000, "yes", "no")
    frame["spent"] = (frame.income / 50 + frame.age).round(1)
    frame.loc[::9, "income"] = np.nan
    frame.loc[5, "town"] = None
    return frame


def written(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@cache
def compared(target: str) -> TableComparison:
    """By "buys" a classification, by "spent" a regression."""
    other = {"buys": "spent", "spent": "buys"}[target]
    return compare_table(shop().drop(columns=other), target, SETTINGS)
