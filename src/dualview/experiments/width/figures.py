"""The figures of the experiment `width`: spread and accuracy against width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from dualview.experiments.naming import architecture_name
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import grouped, mean_sd
from dualview.experiments.width.tables import by_width, mean_spreads
from dualview.pages.axes import fixed_ticks, panel, panel_heading, plain_log_ticks
from dualview.pages.style import KIND_STYLES, LIGHT, house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTIONS: Mapping[str, str] = {
    "spread": "Standard deviation of NTK(x, x) over fresh weights, in percent of its mean, gates "
    "held; mean over test examples and seeds. Drawn: with the standard error of one seed’s draws. "
    "Dashed: 10 %.",
    "fixed-gates": "Test accuracy after training the weights of networks whose random hard gates "
    "stay as they were drawn; mean ± sample standard deviation over seeds.",
}


def figures(records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """Name -> figure, two for each architecture."""
    widths = grouped(by_width(records), lambda runs: runs[0].architecture)
    drawn = {}
    for arch, groups in widths.items():
        if any(mean_spreads(runs, "spread") for runs in groups):
            drawn[f"{arch}-spread"] = _spreads(arch, groups)
        drawn[f"{arch}-fixed-gates"] = _accuracies(arch, groups)
    return drawn


def _spreads(arch: str, groups: Sequence[list[RunRecord]]) -> Figure:
    with house_style():
        figure, axes = panel(5.2, 3.45, left=0.62, right=0.25, bottom=0.6, top=0.46)
        axes.set_yscale("log")
        plain_log_ticks(axes.yaxis)
        measured = [runs for runs in groups if mean_spreads(runs, "spread")]
        known = [runs for runs in groups if mean_spreads(runs, "formula")]
        if known:
            style = KIND_STYLES["dlgn"]
            values = [100 * fmean(mean_spreads(runs, "formula")) for runs in known]
            axes.plot(_widths(known), values, color=style.light, label="closed form")
        style = KIND_STYLES["dgn"]
        axes.errorbar(
            _widths(measured),
            [100 * fmean(mean_spreads(runs, "spread")) for runs in measured],
            [100 * fmean(mean_spreads(runs, "spread_error")) for runs in measured],
            color=style.light,
            marker=style.marker,
            ls="none" if known else "-",
            ms=4.2,
            label="drawn",
        )
        axes.axhline(10, color=LIGHT["muted"], lw=0.9, ls=(0, (4, 3)))
        _finish(axes, f"Spread of the NTK, %: {architecture_name(arch)}", groups)
        axes.legend(loc="upper right", frameon=False, fontsize="small")
    return figure


def _accuracies(arch: str, groups: Sequence[list[RunRecord]]) -> Figure:
    with house_style():
        figure, axes = panel(5.2, 3.45, left=0.62, right=0.25, bottom=0.6, top=0.46)
        style = KIND_STYLES["dgn"]
        found = [mean_sd([run.test_accuracy or 0.0 for run in runs]) for runs in groups]
        axes.errorbar(
            _widths(groups),
            [100 * (mean or 0.0) for mean, _ in found],
            [100 * (sd or 0.0) for _, sd in found],
            color=style.light,
            marker=style.marker,
            ms=4.2,
        )
        _finish(axes, f"Test accuracy, %, gates fixed: {architecture_name(arch)}", groups)
    return figure


def _widths(groups: Sequence[list[RunRecord]]) -> list[int]:
    return [runs[0].width or 0 for runs in groups]


def _finish(axes: Axes, heading: str, groups: Sequence[list[RunRecord]]) -> None:
    axes.set_xscale("log", base=2)
    fixed_ticks(axes.xaxis, _widths(groups))
    axes.set_xlabel("width", color=LIGHT["muted"])
    panel_heading(axes, heading)
