"""The figures of the experiment `distillation`: accuracy over the epochs, route by route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from dualview.experiments.distillation.tables import ROUTES, TEACHER
from dualview.experiments.naming import architecture_name, architecture_place
from dualview.experiments.records import RunRecord
from dualview.pages.axes import kind_line, legend_below, panel, panel_heading
from dualview.pages.style import LIGHT, house_style, kind_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTIONS: Mapping[str, str] = {
    "routes": "Test accuracy after each epoch, mean over seeds, with the gates of that epoch; for "
    "copied weights also before the first. The dashed line is the teacher at its end."
}
"""Figure of an architecture -> how to read it."""

_STYLE = {
    "dlgn": "dlgn-sf",
    "dlgn-copied": "dgn",
    "dlgn-distilled": "dlgn",
    "dlgn-distilled-half": "dlgn-ones",
}
"""Route -> the kind whose colour and marker it has."""


def figures(records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """Name -> figure, one for each architecture of which a run finished."""
    finished = [record for record in records if record.status == "finished" and record.curve]
    names = sorted({record.architecture for record in finished}, key=architecture_place)
    return {
        f"{arch}-routes": _routes([r for r in finished if r.architecture == arch]) for arch in names
    }


def _routes(records: Sequence[RunRecord]) -> Figure:
    with house_style():
        figure, axes = panel(5.2, 4.1, left=0.62, right=0.25, bottom=1.1, top=0.46)
        for route, label in ROUTES.items():
            runs = [record for record in records if record.kind == route]
            if not runs:
                continue
            kind = _STYLE[route]
            epochs, means = zip(*_curve(runs), strict=True)
            hollow = kind_style(kind).ones
            kind_line(axes, kind, epochs, means, hollow=hollow, ms=4.2, label=label)
        teachers = [r.test_accuracy for r in records if r.kind == TEACHER and r.test_accuracy]
        if teachers:
            axes.axhline(
                100 * fmean(teachers), color=kind_style(TEACHER).light, ls="--", lw=1, label="DNN"
            )
        axes.set_xlabel("epochs", color=LIGHT["muted"])
        panel_heading(axes, f"Test accuracy, %: {architecture_name(records[0].architecture)}")
        legend_below(axes, columns=2)
    return figure


def _curve(runs: Sequence[RunRecord]) -> list[tuple[int, float]]:
    """(epochs done, mean accuracy in %); from 0 where it was measured before training."""
    before = [run.measurements["before"] for run in runs if "before" in run.measurements]
    first = [(0, 100 * fmean(before))] if before else []
    length = min(len(run.curve) for run in runs)
    return first + [
        (epoch + 1, 100 * fmean(run.curve[epoch].test_accuracy for run in runs))
        for epoch in range(length)
    ]
