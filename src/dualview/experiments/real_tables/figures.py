"""The figure of the experiment `real-tables`: the DLGN and its tree beside the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dualview.experiments.real_tables.tables import TREE, done, score
from dualview.experiments.records import RunRecord
from dualview.pages.axes import kind_line, panel, panel_heading
from dualview.pages.style import LIGHT, house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTIONS: Mapping[str, str] = {
    "tables": "Mean accuracy over folds on every table: circles the DLGN, diamonds its tree of at "
    "most eight leaves; the grey line goes from the least to the most accurate of the others.",
}


def figures(records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """Name -> figure."""
    runs = done(records)
    return {"tables": _spans(runs)} if runs else {}


def _spans(runs: Sequence[RunRecord]) -> Figure:
    names = runs[0].measurements["estimators"]
    own, others = names[0], [name for name in names[1:] if name != TREE]
    order = sorted(runs, key=lambda run: score(run, own))
    with house_style():
        height = 0.24 * len(order) + 1.0
        figure, axes = panel(5.6, height, left=1.5, right=0.2, bottom=0.55, top=0.45)
        for row, run in enumerate(order):
            scores = [100 * score(run, name) for name in others]
            span = [min(scores), max(scores)]
            axes.plot(span, [row, row], color=LIGHT["muted"], lw=3, solid_capstyle="round")
            for name, kind in ((TREE, "dlgn-sf"), (own, "dlgn")):
                kind_line(axes, kind, [100 * score(run, name)], [row], ls="none", ms=5.5)
        axes.set_yticks(range(len(order)), [run.data for run in order])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("accuracy, %", color=LIGHT["muted"])
        panel_heading(axes, "DLGN, its tree, and others")
    return figure
