"""The table of the experiment `width`. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from dualview.experiments.naming import architecture_name, architecture_place
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import grouped, mean_percent
from dualview.experiments.tables import Table

_COLUMNS = (
    "Network",
    "Spread, drawn, %",
    "Spread, closed form, %",
    "Width needed for 10 %",
    "Test accuracy, %",
)
_NOTE = (
    "Spread: standard deviation of NTK(x, x) over fresh weights, over its mean, gates held: mean "
    "over test examples with an open path, then mean ± sample standard deviation over seeds. Of "
    "drawn spreads at small widths most is in rare draws, so a few hundred show too little of it. "
    "Width needed: at which the closed form is at most 10 % for each of these examples, by more "
    "units like those there are; mean over seeds. A dash: images with too many positions for the "
    "closed form. Accuracy: after training the weights, gates fixed as they were drawn."
)


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """A row for each architecture and width."""
    rows = [_row(runs) for runs in by_width(records)]
    title = "NTK of one draw, and accuracy, by width"
    return [Table("width", title, _COLUMNS, tuple(rows), (_NOTE,))]


def by_width(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Finished runs of one architecture and width together, the narrowest first."""
    finished = [record for record in records if record.status == "finished"]

    def place(record: RunRecord) -> tuple[tuple[int, str], int]:
        return architecture_place(record.architecture), record.width or 0

    order = sorted(finished, key=lambda record: (place(record), record.seed))
    return list(grouped(order, place).values())


def mean_spreads(runs: Sequence[RunRecord], name: str) -> list[float]:
    """Mean over examples of "spread", "spread_error" or "formula", of each run that has it."""
    return [fmean(run.measurements[name]) for run in runs if run.measurements.get(name)]


def _row(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    needed = [found for run in runs if (found := run.measurements.get("needed")) is not None]
    accuracies = [run.test_accuracy for run in runs if run.test_accuracy is not None]
    return (
        f"{architecture_name(runs[0].architecture)}, width {runs[0].width}",
        mean_percent(mean_spreads(runs, "spread")),
        mean_percent(mean_spreads(runs, "formula")),
        f"{fmean(needed):,.0f}" if needed else "–",
        mean_percent(accuracies),
    )
