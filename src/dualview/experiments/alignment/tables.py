"""Tables of the experiment `alignment`: over training, and at its end."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from dualview.experiments.published import NPK_PAPER
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import kind_name, percent
from dualview.experiments.tables import Table

COMPARED_KINDS = ("dnn", "dgn", "dlgn")
"""Whose gates can be followed; the paper's is the first."""
MEASURE_NAMES = ("complexity", "alignment", "rank", "condition")
TABLE_ROWS = 8
"""Of the epochs measured, so many stand in the table."""


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """Complexity and alignment at some epochs, kind by kind, and what else was measured."""
    finished = [run for run in records if run.status == "finished"]
    kinds = [kind for kind in COMPARED_KINDS if any(run.kind == kind for run in finished)]
    return [_over_training(finished, kinds), _at_the_end(finished, kinds)]


def _over_training(records: Sequence[RunRecord], kinds: Sequence[str]) -> Table:
    epochs = shown(sorted({epoch for run in records for epoch in run.measurements["epoch"]}))
    rows = []
    for epoch in epochs:
        cells = [str(epoch)]
        for kind in kinds:
            cells.append(complexity_cell(_values(records, kind, "complexity", epoch)))
            cells.append(_mean_cell(_values(records, kind, "alignment", epoch), 3))
        rows.append(tuple(cells))
    columns = [text for kind in kinds for text in (f"{kind_name(kind)}: complexity", "Alignment")]
    points = next((run.measurements["points"] for run in records), 0)
    return Table(
        "alignment",
        "Kernel and labels over training",
        ("Epochs", *columns),
        tuple(rows),
        (
            f"Complexity: y' (H / tr H)^-1 y, H the NPK at hard gates of {points} training "
            f"examples, y their labels, -1 and +1; it is {points} at least. Alignment: "
            "y' H y / (|y|^2 |H|_F), 1 at most. Mean ± standard deviation over the runs.",
            f"Published ({NPK_PAPER}): the complexity falls as training goes on.",
        ),
    )


def _at_the_end(records: Sequence[RunRecord], kinds: Sequence[str]) -> Table:
    rows = []
    for kind in kinds:
        runs = [run for run in records if run.kind == kind]
        scores = [run.test_accuracy for run in runs if run.test_accuracy is not None]
        ratios = [complexity_ratio(run) for run in runs]
        known = [ratio for ratio in ratios if ratio is not None]
        rows.append(
            (
                kind_name(kind),
                percent(fmean(scores), stdev(scores) if len(scores) > 1 else None),
                _mean_cell([run.curve[-1].train_loss for run in runs], 4),
                _mean_cell(known, 2) if len(known) == len(ratios) else "–",
                f"{sum(ratio < 1 for ratio in known)} of {len(runs)}",
                f"{min(min(run.measurements['rank']) for run in runs)}",
                f"{max(max(run.measurements['condition']) for run in runs):.1e}",
                str(len(runs)),
            )
        )
    return Table(
        "alignment-runs",
        "The runs",
        (
            "Network",
            "Test accuracy, %",
            "Train loss",
            "Complexity, last / first",
            "Runs where it fell",
            "Least rank of H",
            "Largest condition",
            "Runs",
        ),
        tuple(rows),
        (
            "Where H has no inverse on the labels, the complexity is infinite (∞). A condition "
            "of 1e12 or more counts as having none.",
        ),
    )


def complexity_ratio(run: RunRecord) -> float | None:
    """The complexity after training over that before, where both are finite."""
    values = run.measurements["complexity"]
    first, last = values[0], values[-1]
    return None if first is None or last is None else last / first


def shown(epochs: Sequence[int], most: int = TABLE_ROWS) -> list[int]:
    """The first, the last, and those between at growing distances.

    >>> shown(range(0, 51, 2))
    [0, 2, 4, 6, 10, 18, 30, 50]
    """
    if len(epochs) <= most:
        return list(epochs)
    last = len(epochs) - 1
    places = {0, last} | {round(last ** (step / (most - 2))) for step in range(most - 1)}
    return [epochs[place] for place in sorted(places)]


def _values(records: Sequence[RunRecord], kind: str, name: str, epoch: int) -> list[float | None]:
    """Of each run of a kind that has one of that epoch."""
    return [
        run.measurements[name][run.measurements["epoch"].index(epoch)]
        for run in records
        if run.kind == kind and epoch in run.measurements["epoch"]
    ]


def complexity_cell(values: Sequence[float | None]) -> str:
    """Mean and standard deviation; ∞ if it is infinite in one of the runs.

    >>> complexity_cell([300.0, 310.0]), complexity_cell([300.0, None]), complexity_cell([])
    ('305 ± 7', '∞', '–')
    """
    known = [value for value in values if value is not None]
    return _mean_cell(known, 0) if len(known) == len(values) else "∞"


def _mean_cell(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    sd = f" ± {stdev(known):,.{digits}f}" if len(known) > 1 else ""
    return f"{fmean(known):,.{digits}f}{sd}"
