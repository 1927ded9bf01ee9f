"""`compare_table`: a DLGN beside other estimators on one table, and what it goes by."""

from __future__ import annotations

from typing import Any

import numpy as np

from dualview.arguments import (
    UnfitError,
    file_path,
    instance_of,
    offering,
    optional,
    takes,
    text_value,
)
from dualview.errors import TableError
from dualview.progress import Progress, Unseen
from dualview.tabular.comparing.baselines import column_sources, column_titles
from dualview.tabular.comparing.columns import TargetTable, read_table
from dualview.tabular.comparing.findings import Explained, TableComparison
from dualview.tabular.comparing.folds import prepared_rows, try_all
from dualview.tabular.comparing.settings import TableSettings

MOST_ROWS_READ = 2_000
"""Rows held out whose contributions are averaged."""


def _data(value: Any) -> Any:
    if hasattr(value, "columns") and hasattr(value, "iloc"):
        return value
    try:
        return file_path(value)
    except UnfitError:
        raise UnfitError("the path of a CSV or Parquet file, or a pandas table") from None


@takes(
    TableError,
    data=_data,
    target=text_value,
    settings=optional(instance_of(TableSettings)),
    progress=optional(offering("counting")),
)
def compare_table(
    data: Any,
    target: str,
    settings: TableSettings | None = None,
    progress: Progress | None = None,
) -> TableComparison:
    """A DLGN beside a random forest, gradient boosting, an MLP and a linear model on one table.

    Some rows are held out. On folds of the others every estimator is tried, all on the same ones;
    then each learns from all of them and is tried on the rows held out. The DLGN is read: an
    oblique tree, the columns that matter, single predictions.

    Args:
        data: path of a .csv, .tsv, .txt or .parquet file, or a pandas table.
        target: column to predict.
        settings: how. Default: `TableSettings()`.
        progress: told of the fits.

    Returns:
        Scores and readings; `write_page` makes a page of them.

    Raises:
        TableError: the table cannot be used; the message names row and column.
        DataError: a Parquet file cannot be read.

    >>> import pandas
    >>> x = np.random.default_rng(0).normal(size=(60, 2))
    >>> frame = pandas.DataFrame({"a": x[:, 0], "b": x[:, 1], "sign": x.sum(1) > 0})
    >>> found = compare_table(frame, "sign", TableSettings(folds=2, others=("linear",)))
    >>> [one.name for one in found.scores]
    ['DLGN', 'its tree', 'linear']
    """
    settings = settings or TableSettings()
    table = read_table(data, target, settings)
    tried = try_all(table, settings, progress or Unseen())
    readings = _Readings(table, tried.pipeline, tried.test)
    return TableComparison(
        table=table,
        settings=settings,
        scores=tried.scores,
        fidelity=tried.fidelity,
        pipeline=tried.pipeline,
        tree=tried.tree,
        rows_learnt=len(tried.train),
        rows_held_out=len(tried.test),
        importance=readings.importance(),
        explained=readings.explained(),
    )


class _Readings:
    """What the DLGN goes by on the rows held out, by the table's own columns."""

    def __init__(self, table: TargetTable, pipeline: Any, rows: np.ndarray) -> None:
        self.table, self.rows = table, rows[:MOST_ROWS_READ]
        x = prepared_rows(pipeline, table, self.rows)
        self.model = pipeline[-1]
        self.predicted = self.model.predict(x)
        found = self.model.contributions(x)
        self.columns = [*table.numbers, *table.categories]
        titles = column_titles(pipeline)
        sources = column_sources(titles, table.numbers, table.categories)
        places = np.array([self.columns.index(source) for source in sources])
        gather = np.eye(len(self.columns))[places]
        self.parts = found.values @ gather
        self.rest, self.totals = found.rest, found.totals

    def importance(self) -> tuple[tuple[str, float], ...]:
        """Columns by the mean size of what they add, over rows and scores."""
        means = np.abs(self.parts).mean((0, 1))
        order = np.argsort(-means, kind="stable")
        return tuple((self.columns[at], float(means[at])) for at in order)

    def explained(self) -> tuple[Explained, ...]:
        """Some predictions that are worth a look, each row once."""
        reasons: dict[int, str] = {}
        for why, row in self._chosen():
            reasons.setdefault(row, why)
        return tuple(self._explain(why, row) for row, why in reasons.items())

    def _chosen(self) -> list[tuple[str, int]]:
        """Why and which: the predictions that the page explains."""
        true = self.table.target[self.rows]
        if not self.table.classification:
            errors = np.abs(true - self.predicted)
            return [
                ("the largest prediction", int(self.predicted.argmax())),
                ("the smallest prediction", int(self.predicted.argmin())),
                ("the largest error", int(errors.argmax())),
            ]
        margins, right = self._margins(), true == self.predicted
        labels = self.model.classes_[:2]
        among = [(f"the surest {label}", right & (true == label)) for label in labels]
        among.append(("the surest mistake", ~right))
        found = [
            (why, int(np.where(rows, margins, -1.0).argmax())) for why, rows in among if rows.any()
        ]
        return [*found, ("the least sure", int(margins.argmin()))]

    def _margins(self) -> np.ndarray:
        """How far the best score is above the next."""
        if self.totals.shape[1] == 1:
            return np.abs(self.totals[:, 0])
        ordered = np.sort(self.totals, axis=1)
        return ordered[:, -1] - ordered[:, -2]

    def _explain(self, why: str, row: int) -> Explained:
        output, sign, of = self._output(row)
        parts = sign * self.parts[row, output]
        order = np.argsort(-np.abs(parts), kind="stable")
        cells = self.table.frame.iloc[int(self.rows[row])]
        return Explained(
            place=self.table.places[int(self.rows[row])],
            why=why,
            predicted=_shown(self.predicted[row]),
            true=_shown(self.table.target[self.rows[row]]),
            score=float(sign * self.totals[row, output]),
            of=of,
            parts=tuple(
                (self.columns[at], _shown(cells[self.columns[at]]), float(parts[at]))
                for at in order
            ),
            rest=float(sign * self.rest[row, output]),
        )

    def _output(self, row: int) -> tuple[int, float, str]:
        """Which score is explained, its sign, and what it is of."""
        if not self.table.classification:
            return 0, 1.0, self.table.target_name
        classes = [str(label) for label in self.model.classes_]
        place = classes.index(str(self.predicted[row]))
        if len(classes) > 2:
            return place, 1.0, classes[place]
        return 0, 1.0 if place == 1 else -1.0, f"{classes[place]}, less {classes[1 - place]}"


def _shown(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "missing"
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
