"""The figures of the experiment `trees`: how near gates come to the tree's hyperplanes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from dualview.experiments.records import RunRecord
from dualview.experiments.trees.tables import ESTIMATORS, by_columns, level_mean
from dualview.pages.axes import kind_line, legend_below, panel, panel_heading
from dualview.pages.style import LIGHT, house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTIONS: Mapping[str, str] = {
    "gates": "Angle between the tree’s hyperplanes and the nearest gate, by the level of the node: "
    "hollow and dashed before training, filled after it; mean over nodes and seeds.",
    "moving": "The same angle while the network learns, for the root and for the other nodes, from "
    "before training (0) on, at one learning rate.",
}

_KINDS = ("dlgn", "dlgn-sf")
_LOOSE = 1.0
"""Passes up to which the axis is linear, so that 0 has a place."""


def figures(records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """Name -> figure, two for each number of columns."""
    return {
        f"{columns}-columns-{name}": draw(columns, runs)
        for columns, runs in by_columns(records).items()
        for name, draw in (("gates", _angles), ("moving", _moving))
    }


def _angles(columns: int, runs: Sequence[RunRecord]) -> Figure:
    levels = sorted(set(runs[0].measurements["levels"]))
    lines = {
        (kind, told): [level_mean(runs, f"angles-{kind}{ending}", level) for level in levels]
        for kind in _KINDS
        for ending, told in (("-start", "untrained"), ("", "trained"))
    }
    with house_style():
        figure, axes = _drawn(columns, [level + 1 for level in levels], lines, hollow="untrained")
        axes.set_xticks([level + 1 for level in levels])
        axes.set_xlabel("level of the node; 1: the root", color=LIGHT["muted"])
    return figure


def _moving(columns: int, runs: Sequence[RunRecord]) -> Figure:
    passes = [0, *runs[0].measurements["passes"]]
    lines = {
        (kind, told): _mean_angles(runs, kind, root=told == "root")
        for kind in _KINDS
        for told in ("root", "other nodes")
    }
    with house_style():
        figure, axes = _drawn(columns, passes, lines, hollow="other nodes")
        axes.set_xscale("symlog", linthresh=_LOOSE, base=2)
        axes.autoscale_view(scaley=False)  # margins on the new scale
        axes.set_xticks(passes, [str(one) for one in passes])
        axes.set_xlabel("passes over the rows", color=LIGHT["muted"])
    return figure


def _drawn(
    columns: int,
    x: Sequence[int],
    lines: Mapping[tuple[str, str], Sequence[float]],
    hollow: str,
) -> tuple[Figure, Axes]:
    """Angles by (kind, what is told of them); dashed with hollow markers where that is `hollow`."""
    figure, axes = panel(4.6, 3.6, left=0.62, right=0.25, bottom=1.0, top=0.46)
    for (kind, told), angles in lines.items():
        line = kind_line(axes, kind, x, angles, ms=5, label=f"{ESTIMATORS[kind]}, {told}")
        if told == hollow:
            line.set(mfc="none", ls="--")
    axes.set_ylim(0, 90)
    panel_heading(axes, f"Angle to the nearest gate, degrees: {columns} columns")
    legend_below(axes, columns=2)
    return figure, axes


def _mean_angles(runs: Sequence[RunRecord], kind: str, *, root: bool) -> list[float]:
    """Before training and after each number of passes: the root's angle, or the others' mean."""
    found = []
    for moment in range(len(runs[0].measurements["passes"]) + 1):
        angles = []
        for run in runs:
            kept = run.measurements
            of_nodes = (
                kept[f"moving-{kind}"][moment - 1] if moment else kept[f"angles-{kind}-start"]
            )
            pairs = zip(kept["levels"], of_nodes, strict=True)
            angles += [angle for level, angle in pairs if (level == 0) == root]
        found.append(fmean(angles))
    return found
