"""The figure of the experiment `kernel-learner`: network and kernel machine, by gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dualview.experiments.kernel_learner.tables import DRAWN, LEARNT, runs_by_gates
from dualview.experiments.naming import architecture_name
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import grouped
from dualview.pages.axes import kind_line, legend_below, panel, panel_heading
from dualview.pages.style import house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTIONS: Mapping[str, str] = {
    "learners": "Test accuracy of the network, with the gates that it was trained with and with "
    "hard ones, and of ridge regression on the kernel of the hard gates; a point is a seed."
}
"""Figure of an architecture -> how to read it."""

_LEARNERS = {
    "soft": ("network, soft gates", "dnn"),
    "hard": ("network, hard gates", "dgn"),
    "kernel": ("kernel machine", "dlgn"),
}
"""Measurement -> its label, and the kind whose colour and marker it has."""

_PLACES = {LEARNT: 0, DRAWN: 1}
_STEP = 0.16
"""Between the learners of one column."""


def figures(records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """Name -> figure, one for each architecture."""
    groups = grouped(runs_by_gates(records), lambda runs: runs[0].architecture)
    return {f"{arch}-learners": _learners(arch, found) for arch, found in groups.items()}


def _learners(arch: str, groups: Sequence[Sequence[RunRecord]]) -> Figure:
    with house_style():
        figure, axes = panel(4.6, 3.6, left=0.62, right=0.25, bottom=1.0, top=0.46)
        for number, (name, (label, kind)) in enumerate(_LEARNERS.items()):
            points = [
                (_PLACES[run.kind] + _STEP * (number - 1), 100 * run.measurements[name])
                for runs in groups
                for run in runs
            ]
            x, y = zip(*points, strict=True)
            kind_line(axes, kind, x, y, ls="none", ms=5, label=label)
        axes.set_xlim(-0.5, 1.5)
        axes.set_xticks(list(_PLACES.values()), ["learnt gates", "drawn gates"])
        axes.grid(axis="x", visible=False)
        panel_heading(axes, f"Test accuracy, %: {architecture_name(arch)}")
        legend_below(axes, columns=2, gap=0.14)
    return figure
