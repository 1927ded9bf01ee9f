"""Figures of the experiment `alignment`: how the kernel comes to suit the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dualview.errors import RunError
from dualview.experiments.curves import by_kind, draw_courses
from dualview.experiments.records import RunRecord
from dualview.pages.axes import panel, panel_heading
from dualview.pages.style import LIGHT, house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES: Mapping[str, str] = {
    "complexity": "Complexity of the labels, y′(H / tr H)⁻¹y",
    "alignment": "Alignment of kernel and labels",
}
"""Measurement -> what the figure of it is headed."""

CAPTIONS: Mapping[str, str] = {
    "labels-complexity": "H is the NPK at hard gates of the training examples measured on, y their "
    "labels, −1 and +1. Thick lines are means over seeds, thin ones single seeds. The lower, the "
    "better the kernel suits the labels.",
    "labels-alignment": "The cosine of the kernel and yy′, which needs no inverse. Thick lines are "
    "means over seeds, thin ones single seeds.",
}


def figures(records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """Name -> figure; no complexity where it is infinite throughout."""
    return {
        f"labels-{name}": over_training(records, name)
        for name in MEASURES
        if any(_course(record, name) for record in records)
    }


def over_training(records: Sequence[RunRecord], name: str) -> Figure:
    """A measurement over the epochs: one thick line for each kind, one thin line for each seed.

    Args:
        records: of the experiment; those that diverged are left out.
        name: in `MEASURES`.

    Raises:
        RunError: the name is unknown, or no finished run has a finite value.
    """
    finished = [record for record in records if record.status == "finished"]
    if name not in MEASURES or not any(_course(record, name) for record in finished):
        raise RunError(
            f"expected finished runs with a finite measurement among {', '.join(MEASURES)}, got "
            f"none of {name!r}; run the experiment alignment"
        )
    with house_style():
        figure, axes = panel(5.2, 3.4, left=0.72, right=0.3, bottom=0.54, top=0.46)
        for kind, runs in by_kind(finished).items():
            draw_courses(axes, kind, [_course(run, name) for run in runs])
        axes.set_xlabel("epochs done", color=LIGHT["muted"])
        axes.grid(axis="x", visible=False)
        axes.margins(x=0.02)
        panel_heading(axes, MEASURES[name])
        axes.legend(frameon=False, fontsize="small")
    return figure


def _course(record: RunRecord, name: str) -> dict[int, float]:
    """Epochs done -> value, without infinite ones."""
    taken = record.measurements
    pairs = zip(taken.get("epoch", ()), taken.get(name, ()), strict=True)
    return {epoch: value for epoch, value in pairs if value is not None}
