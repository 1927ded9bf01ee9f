"""Figures of the experiment `gate-learning`: accuracy on the gates of each stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from dualview.errors import RunError
from dualview.experiments.gate_learning.tables import Stage, by_stage, settings
from dualview.experiments.gate_learning.tables import heading as setting_name
from dualview.experiments.published import GATE_LEARNING
from dualview.experiments.records import RunRecord
from dualview.pages.axes import legend_below, panel, panel_heading, published_marks
from dualview.pages.style import LIGHT, house_style, kind_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Line:
    """One learner's line."""

    label: str
    kind: str
    """The kind of network whose colour and marker it has."""


LINES: Mapping[str, Line] = {
    "weights": Line("fresh weights network", "dgn"),
    "kernel": Line("kernel regression", "dlgn"),
    "relu": Line("the gates’ own network", "dnn"),
}
"""Field of `Stage` -> its line."""

NAME = "gate-learning"
CAPTIONS: Mapping[str, str] = {
    NAME: "Accuracy of what learns on the gates of each stage, frozen; bars are ± one sample "
    "standard deviation over seeds. Kernel regression has a subset of the data only (sizes in the "
    "table). Hollow diamonds: published for the fresh weights network, GCONV on CIFAR-10."
}
"""Name of a figure -> how to read it."""


def figures(records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """Name -> figure, one for each setting of which a run finished."""
    drawable = [group for group in settings(records) if by_stage(group)]
    return {
        NAME if i == 0 else f"{NAME}-{i + 1}": over_stages(group)
        for i, group in enumerate(drawable)
    }


def over_stages(records: Sequence[RunRecord]) -> Figure:
    """Mean accuracy over the stages, a line for each learner, and the published marks.

    Args:
        records: of one setting; runs that diverged are left out.

    Raises:
        RunError: no run finished, or records of several settings.
    """
    stages = by_stage(records)
    if not stages or len(settings(records)) > 1:
        raise RunError(
            f"expected finished runs of one setting, got {len(settings(records))} settings and "
            f"{len(stages)} stages with a finished run; draw each setting by itself"
        )
    with house_style():
        figure, axes = panel(5.2, 4.1, left=0.62, right=0.25, bottom=1.1, top=0.46)
        for field, line in LINES.items():
            _draw(axes, stages, field, line)
        marks = [value.percent for value in GATE_LEARNING.values()]
        published_marks(axes, list(GATE_LEARNING), marks, "published, fresh weights")
        axes.set_xticks([stage.number for stage in stages])
        axes.set_xlabel("stage of gate learning (0: initialisation)", color=LIGHT["muted"])
        axes.grid(axis="x", visible=False)
        panel_heading(axes, f"Test accuracy, %: {setting_name(records[0])}")
        legend_below(axes, columns=2)
    return figure


def _draw(axes: Axes, stages: Sequence[Stage], field: str, line: Line) -> None:
    taken = [(stage.number, getattr(stage, field)) for stage in stages if getattr(stage, field)]
    if not taken:
        return
    style = kind_style(line.kind)
    axes.errorbar(
        [number for number, _ in taken],
        [100 * fmean(values) for _, values in taken],
        yerr=[100 * stdev(values) if len(values) > 1 else 0.0 for _, values in taken],
        color=style.light,
        marker=style.marker,
        ms=5.0,
        lw=1.8,
        elinewidth=1.2,
        capsize=2.5,
        label=line.label,
    )
