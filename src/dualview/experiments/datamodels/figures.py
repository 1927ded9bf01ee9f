"""The figure of the experiment `datamodels`: scores with their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dualview.experiments.datamodels.tables import ATTRIBUTIONS, scored, scores_of
from dualview.experiments.naming import architecture_name
from dualview.experiments.records import RunRecord
from dualview.pages.axes import panel, panel_heading
from dualview.pages.style import KIND_STYLES, LIGHT, house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTIONS: Mapping[str, str] = {
    "scores": "Linear datamodelling score of attributions to training examples, mean over test "
    "examples, bars of one standard error."
}


def figures(records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """Name -> figure, one for each architecture, of its first seed."""
    found: dict[str, Figure] = {}
    for record in scored(records):
        found.setdefault(f"{record.architecture}-scores", _scores(record))
    return found


def _scores(record: RunRecord) -> Figure:
    rows = scores_of(record)[::-1]
    with house_style():
        figure, axes = panel(6.2, 2.5, left=2.5, right=0.3, bottom=0.55, top=0.5)
        for place, (_, mean, error) in enumerate(rows):
            axes.errorbar(
                mean, place, xerr=error, color=KIND_STYLES["dlgn"].light, marker="o", ms=6, lw=1.6
            )
        axes.axvline(0, color=LIGHT["muted"], lw=0.8)
        axes.set_yticks(range(len(rows)), [ATTRIBUTIONS[name] for name, _, _ in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlabel("linear datamodelling score", color=LIGHT["muted"])
        panel_heading(axes, architecture_name(record.architecture))
    return figure
