"""The figure of the experiment `gating`: accuracies by change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from dualview.experiments.gating.changes import BASE, CHANGES
from dualview.experiments.gating.tables import by_architecture, title_of, validation
from dualview.experiments.naming import architecture_name
from dualview.experiments.records import RunRecord
from dualview.pages.axes import kind_line, panel
from dualview.pages.style import LIGHT, house_style, kind_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTIONS: Mapping[str, str] = {
    "changes": "Accuracy after the last epoch: a filled marker is a seed’s on the validation "
    "images, a hollow one the mean over seeds on the training images. The line is the plain DLGN’s "
    "mean on the validation images; the networks below it differ from it in what they name."
}
"""Figure of an architecture -> how to read it."""

_ROW = 0.27
"""Inches from one network to the next."""


def figures(records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """Name -> figure, one for each architecture of which a run finished."""
    found = by_architecture([r for r in records if validation([r])])
    return {f"{arch}-changes": _changes(arch, runs) for arch, runs in found.items()}


def _changes(arch: str, by_change: Mapping[str, Sequence[RunRecord]]) -> Figure:
    with house_style():
        height = 1.0 + _ROW * len(by_change)
        figure, axes = panel(6.6, height, left=3.0, right=0.25, bottom=0.55, top=0.36)
        for place, (name, runs) in enumerate(by_change.items()):
            kind = CHANGES[name].kind
            shown = [100 * value for value in validation(runs).values()]
            kind_line(axes, kind, shown, [place] * len(shown), ls="none", ms=5)
            learnt = 100 * fmean(run.curve[-1].train_accuracy for run in runs)
            kind_line(axes, kind, [learnt], [place], hollow=True, ls="none", ms=5)
            if name == BASE:
                colour = kind_style(kind).light
                axes.axvline(fmean(shown), color=colour, lw=0.8, ls="--", zorder=0)
        axes.set_yticks(range(len(by_change)), [title_of(name) for name in by_change])
        axes.set_ylim(len(by_change) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("accuracy, %", color=LIGHT["muted"])
        axes.set_title(architecture_name(arch), loc="left", fontsize="medium")
    return figure
