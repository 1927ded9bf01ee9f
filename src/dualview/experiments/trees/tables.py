"""The tables of the experiment `trees`. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from dualview.experiments.records import RunRecord
from dualview.experiments.summary import grouped, mean_percent
from dualview.experiments.tables import Table

ESTIMATORS: Mapping[str, str] = {
    "dlgn": "DLGN",
    "dlgn-tree": "tree of the DLGN",
    "dlgn-sf": "DLGN-SF",
    "dlgn-sf-tree": "tree of the DLGN-SF",
    "dnn": "ReLU network",
    "forest": "random forest",
    "boosting": "gradient boosting",
    "cart": "CART",
}
"""Estimator -> how tables name it."""

PUBLISHED: Mapping[int, Mapping[str, str]] = {
    20: {"dlgn": "96.05", "dlgn-sf": "97.43"},
    100: {"dlgn": "94.25", "dlgn-sf": "90.29"},
    500: {"dlgn": "65.04", "dlgn-sf": "63.83"},
}
"""Columns -> accuracy in %, the best of the ICLR 2025 work's repository; at 20 columns from 40,000
rows, at 100 from 60,000, at 500 from 100,000."""

_ACCURACIES = (
    "Accuracy in % on unseen rows, mean ± sample standard deviation over seeds, each with a tree "
    "of its own; all estimators learn from the same rows. Published: the best accuracies of the "
    "ICLR 2025 work’s repository, with 40,000 rows at 20 columns, 60,000 at 100 and 100,000 at "
    "500, and networks and trees of its own, so that they are no target for these rows and trees."
)
_GATES = (
    "Angle in degrees between each of the tree’s hyperplanes and the gate whose direction is "
    "nearest, and how far the two are apart along it, in standard deviations of a column: before → "
    "after training, mean over the nodes of a level and over seeds. The root’s hyperplane splits "
    "all rows, one of level 2 half of them, one of level 3 a quarter."
)

_MOVING = (
    "The same angle and offset after so many passes over the rows, at one learning rate, mean over "
    "all nodes and seeds."
)


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """Accuracies by columns; angles and offsets of the nearest gates by level."""
    groups = by_columns(records)
    if not groups:
        return []
    columns = ["Estimator"]
    for count, runs in groups.items():
        depth = max(runs[0].measurements["levels"]) + 1
        columns += [f"{count} columns, {runs[0].n_train:,} rows, depth {depth}", "Published"]
    rows = []
    for key, name in ESTIMATORS.items():
        cells = [name]
        for count, runs in groups.items():
            cells += [mean_percent([accuracy(run, key) for run in runs])]
            cells += [PUBLISHED.get(count, {}).get(key, "–")]
        rows.append(tuple(cells))
    first = Table("accuracy", "Who learns the tree", tuple(columns), tuple(rows), (_ACCURACIES,))
    return [first, _gates_table(groups), _moving_table(groups)]


def _gates_table(groups: Mapping[int, Sequence[RunRecord]]) -> Table:
    levels = sorted({level for runs in groups.values() for level in runs[0].measurements["levels"]})
    rows = [
        (
            f"{count} columns, {ESTIMATORS[kind]}: {what}",
            *(_moved(runs, f"{name}-{kind}", level, digits) for level in levels),
        )
        for count, runs in groups.items()
        for kind in ("dlgn", "dlgn-sf")
        for name, what, digits in (("angles", "angle", 1), ("offsets", "offset", 2))
    ]
    heads = ("root" if level == 0 else f"level {level + 1}" for level in levels)
    return Table("gates", "Where the gates go", ("Nearest gate", *heads), tuple(rows), (_GATES,))


def _moving_table(groups: Mapping[int, Sequence[RunRecord]]) -> Table:
    passes = next(iter(groups.values()))[0].measurements["passes"]
    rows = [
        (
            f"{count} columns, {ESTIMATORS[kind]}: {what}",
            f"{level_mean(runs, f'{start}-{kind}-start'):.{digits}f}",
            *(f"{_at(runs, f'{name}-{kind}', moment):.{digits}f}" for moment in range(len(passes))),
        )
        for count, runs in groups.items()
        for kind in ("dlgn", "dlgn-sf")
        for start, name, what, digits in (
            ("angles", "moving", "angle", 1),
            ("offsets", "moving-offsets", "offset", 2),
        )
    ]
    heads = ("untrained", *(f"{n} pass" if n == 1 else f"{n} passes" for n in passes))
    return Table("moving", "While they learn", ("Nearest gate", *heads), tuple(rows), (_MOVING,))


def _at(runs: Sequence[RunRecord], name: str, moment: int) -> float:
    """Mean over nodes and runs after one of the numbers of passes."""
    return fmean(value for run in runs for value in run.measurements[name][moment])


def _moved(runs: Sequence[RunRecord], name: str, level: int, digits: int) -> str:
    """A mean before and after training."""
    if level not in runs[0].measurements["levels"]:
        return "–"
    before, after = level_mean(runs, f"{name}-start", level), level_mean(runs, name, level)
    return f"{before:.{digits}f} → {after:.{digits}f}"


def by_columns(records: Sequence[RunRecord]) -> dict[int, list[RunRecord]]:
    """Columns -> runs by seed, fewest columns first."""
    measured = [record for record in records if "levels" in record.measurements]
    order = sorted(measured, key=lambda record: (record.config["columns"], record.seed))
    return grouped(order, lambda record: int(record.config["columns"]))


def accuracy(run: RunRecord, estimator: str) -> float:
    """Of one estimator, on unseen rows."""
    place = run.measurements["estimators"].index(estimator)
    return float(run.measurements["accuracies"][place])


def level_mean(runs: Sequence[RunRecord], name: str, level: int | None = None) -> float:
    """Mean of a measurement of nodes over runs, and over the nodes of one level, or of all."""
    return fmean(
        value
        for run in runs
        for at, value in zip(run.measurements["levels"], run.measurements[name], strict=True)
        if level is None or at == level
    )
