"""Figures made from run records: no tensors, no pyplot, no state between two figures.

Every function returns a `matplotlib.figure.Figure` of one panel. A page sets panels side by side
or below one another, so they stay legible on a phone. How kinds are coloured and how figures are
saved is in `pages.style`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from dualview.errors import RunError
from dualview.experiments.naming import architecture_place
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import (
    REFERENCE_KIND,
    SummaryRow,
    grouped,
    kind_name,
    summarise,
)
from dualview.pages.axes import (
    fixed_ticks,
    kind_line,
    label_ends,
    name_above,
    name_rows,
    panel,
    panel_heading,
    plain_log_ticks,
    row_mean,
    row_result,
)
from dualview.pages.style import FONT_SIZE, KIND_STYLES, LIGHT, KindStyle, house_style, kind_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLAIMED_RECOVERY = 0.835
"""Share of the DNN's accuracy that the DLGN exceeds on CIFAR (arXiv 2110.03403, abstract)."""


@dataclass(frozen=True)
class Metric:
    """A column of the learning curve as an axis."""

    label: str
    percent: bool = False
    log: bool = False


METRICS: Mapping[str, Metric] = {
    "train_loss": Metric("Training loss", log=True),
    "train_accuracy": Metric("Training accuracy, %", percent=True),
    "validation_loss": Metric("Validation loss", log=True),
    "validation_accuracy": Metric("Validation accuracy, %", percent=True),
    "test_loss": Metric("Test loss", log=True),
    "test_accuracy": Metric("Test accuracy, %", percent=True),
}
"""The fields of `EpochMetrics` that `learning_curves` can draw."""

STRETCH_ABOVE = 90.0
"""Accuracies beyond this many % are drawn on a scale of equal steps for equal ratios of the error,
since on an even scale curves that differ by a third of their errors lie on one another."""
STRETCHED_TICKS = (0, 20, 50, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9)


COMPARISON_CAPTIONS: Mapping[str, str] = {
    "recovered": "A marker is one seed: its test accuracy divided by the DNN’s with the same seed. "
    "The bar below is their mean ± sample standard deviation.",
    "curves": "Test accuracy after each epoch; thick lines are means over seeds.",
}
"""Figure of an architecture -> how to read it."""


def comparison_figures(records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """For each architecture: recovered accuracy, and the learning curves."""
    found = {}
    for arch in sorted({record.architecture for record in records}, key=architecture_place):
        runs = [record for record in records if record.architecture == arch]
        if any(recovered_by_seed(runs).values()):
            found[f"{arch}-recovered"] = recovered_accuracy(runs)
        if any(run.curve for run in runs):
            found[f"{arch}-curves"] = learning_curves(runs)
    return found


def by_kind(records: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Records grouped by kind in the order of `KIND_STYLES`, each group ordered by seed."""
    groups = grouped(sorted(records, key=lambda r: r.seed), lambda r: r.kind)
    for kind in groups:
        kind_style(kind)
    return {kind: groups[kind] for kind in KIND_STYLES if kind in groups}


# ------------------------------------------------------------------------------------ the figures


def learning_curves(records: Sequence[RunRecord], metric: str = "test_accuracy") -> Figure:
    """Learning curves: one thick line per kind (mean over finished seeds), one thin line per seed.

    A diverged run is dotted up to its last finite value, marked with a cross, and in no mean.

    Args:
        records: runs of one setting; those without a value of `metric` are left out.
        metric: a name in `METRICS`.

    Raises:
        RunError: `metric` is unknown, no record has a value of it, or settings are mixed.
    """
    _require_one_setting(records)
    if metric not in METRICS:
        raise RunError(f"expected a metric among {', '.join(METRICS)}, got {metric!r}; name one")
    curves = {
        kind: [(record, _curve(record, metric)) for record in group]
        for kind, group in by_kind(records).items()
    }
    if not any(curve for group in curves.values() for _, curve in group):
        raise RunError(
            f"expected records with a value of {metric}, got none; train with a split for it, or "
            f"draw another metric"
        )
    with house_style():
        figure, axes = panel(5.2, 3.5, left=0.56, right=1.2, bottom=0.54, top=0.44)
        _value_axis(axes, metric, curves)
        drawn = {kind: _draw_kind(axes, kind, group) for kind, group in curves.items()}
        ends = {kind: end for kind, end in drawn.items() if end is not None}
        _epoch_axis(axes)
        label_ends(
            axes,
            [kind_name(kind) for kind in ends],
            list(ends.values()),
            [kind_style(kind).light for kind in ends],
            at=1.055,
            lead=True,
        )
    return figure


def recovered_accuracy(records: Sequence[RunRecord]) -> Figure:
    """Recovered accuracy, one row per kind: a marker per seed, below it mean ± standard deviation.

    The DNN's 100 % and the claim of the DLGN paper, 83.5 %, are drawn as lines.

    Args:
        records: runs of one setting, the DNN's among them.

    Raises:
        RunError: records of several settings, or no run that can be compared with a DNN.
    """
    _require_one_setting(records)
    recovered = recovered_by_seed(records)
    rows = {row.kind: row for row in summarise(records)}
    kinds = [kind for kind in KIND_STYLES if recovered.get(kind)]
    if not kinds:
        raise RunError(
            "expected finished runs of a kind and of the DNN with the same seed, got none; train "
            "the DNN with the seeds of the others"
        )
    with house_style():
        height = 1.0 + 0.48 * len(kinds)
        figure, axes = panel(5.2, height, left=1.22, right=1.25, bottom=0.54, top=0.42)
        axes.margins(x=0.06)
        for place, kind in enumerate(kinds):
            _draw_recovered(axes, place, rows[kind], list(recovered[kind].values()))
        _reference_lines(axes)
        name_rows(axes, [kind_name(kind) for kind in kinds])
        axes.set_xlabel("test accuracy, % of the DNN's", color=LIGHT["muted"])
    return figure


def recovered_by_seed(records: Sequence[RunRecord]) -> dict[str, dict[int, float]]:
    """Kind to seed to its accuracy divided by that of the DNN of the same seed, as a fraction.

    `summarise` takes its means over the same pairs. The DNN itself, 1 for every seed, is left out.
    """
    accuracy = {
        kind: {r.seed: r.test_accuracy for r in runs if r.test_accuracy is not None}
        for kind, runs in by_kind(r for r in records if r.status == "finished").items()
    }
    reference = accuracy.pop(REFERENCE_KIND, {})
    return {
        kind: {seed: a / reference[seed] for seed, a in runs.items() if reference.get(seed)}
        for kind, runs in accuracy.items()
    }


# ------------------------------------------------------------------------------------------ drawing


_Curves = Mapping[str, Sequence[tuple[RunRecord, Mapping[int, float]]]]
"""Kind to its runs, each with epoch to value."""


def _draw_kind(
    axes: Axes, kind: str, group: Sequence[tuple[RunRecord, Mapping[int, float]]]
) -> tuple[float, float] | None:
    """Draw the runs of one kind; return the end of its mean line, or None if no run finished."""
    for record, curve in group:
        if record.status != "finished":
            _draw_diverged(axes, kind_style(kind), curve)
    finished = [curve for record, curve in group if curve and record.status == "finished"]
    return draw_courses(axes, kind, finished)


def draw_courses(
    axes: Axes, kind: str, courses: Sequence[Mapping[int, float]]
) -> tuple[float, float] | None:
    """Draw the mean of some courses over epochs, and each of them thinly where there are several.

    Returns:
        The end of the mean line; None, if there is no epoch that all have.
    """
    style = kind_style(kind)
    if len(courses) > 1:
        for course in courses:
            axes.plot(list(course), list(course.values()), color=style.light, lw=0.8, alpha=0.4)
    shared = sorted(set.intersection(*map(set, courses))) if courses else []
    if not shared:
        return None
    mean = [fmean(course[epoch] for course in courses) for epoch in shared]
    dashes = (0, (4, 1.6)) if style.ones else "-"
    line = kind_line(axes, kind, shared, mean, hollow=style.ones, lw=1.9, ls=dashes, zorder=3)
    line.set(markevery=[len(shared) - 1], ms=4.8, label=kind_name(kind))
    return shared[-1], mean[-1]


def _draw_diverged(axes: Axes, style: KindStyle, curve: Mapping[int, float]) -> None:
    """A dotted line with a cross at the last finite value; nothing if there was none."""
    finite = {epoch: value for epoch, value in curve.items() if math.isfinite(value)}
    if finite:
        axes.plot(list(finite), list(finite.values()), color=style.light, lw=1.1, ls=":")
        last = max(finite)
        axes.plot([last], [finite[last]], color=style.light, marker="x", ms=6, mew=1.6, zorder=4)


def _draw_recovered(axes: Axes, place: int, row: SummaryRow, values: Sequence[float]) -> None:
    """One row of the recovered-accuracy figure, `place` rows from the top."""
    style = kind_style(row.kind)
    row_mean(axes, place + 0.2, row.recovered_mean, row.recovered_sd, style.light)
    heights = [place - 0.1 * (row.recovered_sd is not None)] * len(values)
    shown = [100 * value for value in values]
    marks = kind_line(axes, row.kind, shown, heights, hollow=style.ones, ls="none", zorder=3)
    marks.set(ms=5.2, label=kind_name(row.kind))
    row_result(axes, place, row.recovered)


def _reference_lines(axes: Axes) -> None:
    """The DNN's 100 % and the DLGN paper's claim, labelled above the panel."""
    claim = 100 * CLAIMED_RECOVERY
    axes.axvline(100, color=LIGHT["muted"], lw=1.0, zorder=1)
    axes.axvline(claim, color=LIGHT["muted"], lw=1.0, ls=(0, (3, 2)), zorder=1)
    axes.autoscale_view()
    left, right = axes.get_xlim()
    room = (100 - claim) / (right - left) * 72 * axes.bbox.width / axes.figure.dpi
    needed = 13 * FONT_SIZE  # points, for the claim's label to stand between the lines
    raised = 5 if room > needed else 18
    name_above(axes, 100.0, "100 %: the DNN", 5, color=LIGHT["muted"])
    name_above(axes, claim, f"{claim:g} %: claimed on CIFAR", raised, color=LIGHT["muted"])


def _curve(record: RunRecord, metric: str) -> dict[int, float]:
    """Number of epochs trained to value of `metric`, percentages as such; without missing ones."""
    factor = 100.0 if METRICS[metric].percent else 1.0
    values = {epoch.epoch + 1: getattr(epoch, metric) for epoch in record.curve}
    return {epoch: factor * value for epoch, value in values.items() if value is not None}


def _require_one_setting(records: Sequence[RunRecord]) -> None:
    """Refuse to draw runs as seeds of one another that differ in more than kind and seed."""
    found = {(r.experiment, r.data, r.architecture, r.width) for r in records}
    if len(found) > 1:
        raise RunError(
            f"expected runs of one experiment, data set, architecture and width, got {len(found)} "
            f"combinations: {sorted(found, key=str)}; draw them one by one"
        )


def _value_axis(axes: Axes, metric: str, curves: _Curves) -> None:
    """Name and scale the y axis; see `STRETCH_ABOVE` for the scale of accuracies."""
    label = METRICS[metric].label
    records = [record for group in curves.values() for record, _ in group]
    if METRICS[metric].log:
        label += " (log scale)"
        axes.set_yscale("log")
        plain_log_ticks(axes.yaxis)
    elif is_stretched(metric, records):
        label += " (stretched towards 100)"
        _stretched_scale(axes, half_an_example(metric, records))
    panel_heading(axes, label)


def is_stretched(metric: str, records: Iterable[RunRecord]) -> bool:
    """Whether `learning_curves` draws `metric` of `records` on the scale stretched towards 100 %.

    It does for an accuracy that passes `STRETCH_ABOVE` somewhere.
    """
    values = (value for record in records for value in _curve(record, metric).values())
    return METRICS[metric].percent and any(value > STRETCH_ABOVE for value in values)


def half_an_example(metric: str, records: Iterable[RunRecord]) -> float:
    """Half the error, in %, that one example of the metric's split makes."""
    split = f"n_{metric.partition('_')[0]}"
    return 50.0 / max(1, *(getattr(record, split) for record in records))


def _stretched_scale(axes: Axes, least_error: float) -> None:
    """Equal steps for equal ratios of the error; `least_error` % more, so that 100 has a place."""
    import numpy as np

    end = 100.0 + least_error

    def height(percent: Any) -> Any:
        return -np.log(np.maximum(end - np.asarray(percent), least_error / 100))

    def percent(height: Any) -> Any:
        return end - np.exp(-np.asarray(height))

    ticks = [tick for tick in STRETCHED_TICKS if tick <= 100 - 2 * least_error]
    axes.set_yscale("function", functions=(height, percent))
    fixed_ticks(axes.yaxis, [*ticks, 100])


def _epoch_axis(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.set_xlabel("epoch", color=LIGHT["muted"])
    axes.grid(axis="x", visible=False)
    axes.margins(x=0.02)
    left, right = axes.get_xlim()
    if right - left < 1:  # a single epoch
        axes.set_xlim(round(left) - 0.5, round(right) + 0.5)
