"""The tables of the experiment `real-tables`. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from dualview.experiments.records import RunRecord
from dualview.experiments.summary import percent
from dualview.experiments.tables import Table

TREE = "its tree"
NEAR = 0.02
"""How much less accurate a tree may be to be near its network."""

_RANKS = (
    "Rank of the mean accuracy over folds on each table, 1 for the best, ties shared; the mean "
    "over tables. The tree is ranked beside none: it is the DLGN’s, with at most eight leaves. "
    "Seconds: training on all rows that are not held out, mean over tables, one thread."
)
_EACH = (
    "Mean accuracy in % over folds; every estimator on the same folds, with scikit-learn’s own "
    "settings. Of the DLGN one thing was chosen with six of these tables at hand (german, heart, "
    "pima, saheart, sonar, vehicle): that it always holds rows back to know when to stop."
)


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """Mean ranks, and every table's accuracies."""
    runs = done(records)
    if not runs:
        return []
    names = runs[0].measurements["estimators"]
    others = [name for name in names if name != TREE]
    ranked = mean_ranks(runs)
    rows = [
        (
            name,
            f"{ranked[name]:.2f}" if name in others else "–",
            percent(fmean(score(run, name) for run in runs), None),
            f"{fmean(run.measurements['seconds'][names.index(name)] for run in runs):.2f}",
        )
        for name in names
    ]
    near = sum(score(run, names[0]) - score(run, TREE) <= NEAR for run in runs)
    note = (
        f"The tree is at most 2 points less accurate than its network on {near} of {len(runs)} "
        f"tables, and says what it says on {100 * fmean(fidelity(runs)):.0f} % of the rows held "
        f"out."
    )
    first = Table(
        "ranks",
        f"Mean over {len(runs)} tables",
        ("Estimator", "Mean rank", "Accuracy, %", "Seconds"),
        tuple(rows),
        (_RANKS, note),
    )
    each = [
        (
            f"{run.data}: {run.n_train + run.n_test} rows, {run.measurements['columns']} columns",
            *(percent(score(run, name), None) for name in names),
        )
        for run in runs
    ]
    return [first, Table("each", "Every table", ("Table", *names), tuple(each), (_EACH,))]


def done(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Runs by table and seed."""
    runs = [record for record in records if "held_out" in record.measurements]
    return sorted(runs, key=lambda run: (run.data, run.seed))


def score(run: RunRecord, name: str) -> float:
    """Mean accuracy of an estimator over the folds."""
    return fmean(run.measurements["folds"][run.measurements["estimators"].index(name)])


def fidelity(runs: Sequence[RunRecord]) -> list[float]:
    """How often trees say what their networks say, on the rows held out."""
    return [run.measurements["fidelity"] for run in runs]


def mean_ranks(runs: Sequence[RunRecord]) -> dict[str, float]:
    """Estimator -> its mean rank, without the tree."""
    names = [name for name in runs[0].measurements["estimators"] if name != TREE]
    found = {}
    for name in names:
        ranks = []
        for run in runs:
            own, scores = score(run, name), [score(run, other) for other in names]
            better = sum(other > own for other in scores)
            ranks.append(better + (1 + sum(other == own for other in scores)) / 2)
        found[name] = fmean(ranks)
    return found
