"""Tables of the experiment `architectures`: recovered accuracy, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from dualview.experiments.naming import architecture_name
from dualview.experiments.published import DLGN_RECOVERY
from dualview.experiments.records import RunRecord
from dualview.experiments.settings import ENLARGED
from dualview.experiments.summary import (
    SummaryRow,
    grouped,
    in_order,
    kind_name,
    mean_percent,
    percent,
    summarise,
)
from dualview.experiments.tables import Table

WIDE = "dnn-wide"
COMPARED_KINDS = ("dnn", WIDE, "dgn", "dlgn", "dlgn-ones")
OF_ALL = ("dnn", "dgn")
"""Kinds that any architecture has; the widened DNN is as large as a DLGN."""
CLAIMED = ("dlgn", "dlgn-ones")
"""Kinds that the published claim is about."""


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """Recovered accuracy, and what it costs; a row for each kind of each architecture."""
    groups = by_architecture(records)
    return [_accuracy_table(groups), _cost_table(groups)]


def by_architecture(records: Iterable[RunRecord]) -> list[tuple[str, list[RunRecord]]]:
    """Records of one architecture together, architectures and kinds in the experiment's order."""
    return list(grouped(in_order(records, COMPARED_KINDS), lambda r: r.architecture).items())


def _accuracy_table(groups: Sequence[tuple[str, list[RunRecord]]]) -> Table:
    rows = tuple(
        (
            f"{architecture_name(arch)}, {kind_name(row.kind)}",
            percent(row.accuracy_mean, row.accuracy_sd),
            row.recovered,
            f"> {100 * DLGN_RECOVERY.at_least:g}" if row.kind in CLAIMED else "–",
            mean_percent(of_wide(runs, row.kind)),
            percent(row.max_accuracy_mean, None),
            row.runs,
        )
        for arch, runs in groups
        for row in summarise(runs)
    )
    return Table(
        "recovered-accuracy",
        "Recovered accuracy",
        (
            "Network",
            "Test accuracy, %",
            "Recovered, %",
            "Published, %",
            "Of the wide DNN, %",
            "Max over epochs, %",
            "Runs",
        ),
        rows,
        (
            "Test accuracy after the last epoch, mean ± sample standard deviation over seeds. "
            "Recovered: that accuracy divided by the DNN’s of the same width, seed by seed. "
            "“DNN, wide” has about as many parameters as the DLGN; “of the wide DNN” is the "
            "accuracy divided by that of this network.",
            f"Published: {DLGN_RECOVERY.text} ({DLGN_RECOVERY.source}). “Max over epochs” picks "
            "the best epoch by the test set, so it is no score.",
            *_enlarged_note(groups),
            *_epochs_note(groups),
        ),
    )


def of_wide(runs: Sequence[RunRecord], kind: str) -> list[float]:
    """Accuracy divided by that of the widened DNN, for each seed with which both finished."""
    accuracy = {
        name: {run.seed: run.test_accuracy for run in runs if run.kind == name}
        for name in (kind, WIDE)
    }
    return [
        value / wide
        for seed, value in accuracy[kind].items()
        if value is not None and (wide := accuracy[WIDE].get(seed))
    ]


def _enlarged_note(groups: Sequence[tuple[str, list[RunRecord]]]) -> tuple[str, ...]:
    """Which architectures saw enlarged images."""
    factors = {
        architecture_name(arch): run.config[ENLARGED]
        for arch, runs in groups
        for run in runs
        if ENLARGED in run.config
    }
    return tuple(
        f"{arch} halves its images more often than these allow, so each pixel is repeated "
        f"{factor} × {factor} times."
        for arch, factor in factors.items()
    )


def _epochs_note(groups: Sequence[tuple[str, list[RunRecord]]]) -> tuple[str, ...]:
    """Which kinds of an architecture were trained for how long, where they were not alike."""
    notes = []
    for arch, runs in groups:
        epochs = {run.kind: run.epochs for run in runs}
        if len(set(epochs.values())) > 1:
            each = ", ".join(f"{kind_name(kind)} {count}" for kind, count in epochs.items())
            notes.append(f"{architecture_name(arch)}: not trained for the same epochs: {each}.")
    return tuple(notes)


def _cost_table(groups: Sequence[tuple[str, list[RunRecord]]]) -> Table:
    rows = []
    for arch, runs in groups:
        seconds = {row.kind: _seconds_per_epoch(runs, row.kind) for row in summarise(runs)}
        sizes = {row.kind: row for row in summarise(runs)}
        for kind, row in sizes.items():
            rows.append(
                (
                    f"{architecture_name(arch)}, {kind_name(kind)}",
                    _width(runs, row),
                    f"{row.parameters:,}",
                    _ratio(row.parameters, sizes["dnn"].parameters if "dnn" in sizes else None),
                    "–" if seconds[kind] is None else f"{seconds[kind]:.3g}",
                    _ratio(seconds[kind], seconds.get("dnn")),
                )
            )
    return Table(
        "cost",
        "Parameters and training cost",
        (
            "Network",
            "Width",
            "Parameters",
            "Parameters, × DNN",
            "Seconds an epoch",
            "Time, × DNN",
        ),
        tuple(rows),
        (
            "Width: units or channels of the first layer. Seconds: the median over all epochs, "
            "evaluation included; where other work ran beside it, they and their ratios are rough.",
        ),
    )


def _width(runs: Sequence[RunRecord], row: SummaryRow) -> str:
    first = next(run for run in runs if run.kind == row.kind)
    width = first.config.get("own_width", row.width)
    return "own" if width is None else str(width)


def _seconds_per_epoch(runs: Sequence[RunRecord], kind: str) -> float | None:
    seconds = [epoch.seconds for run in runs if run.kind == kind for epoch in run.curve]
    return median(seconds) if seconds else None


def _ratio(value: float | None, reference: float | None) -> str:
    return f"{value / reference:.2f}" if value is not None and reference else "–"
