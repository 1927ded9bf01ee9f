"""Figures of the experiment `regimes`: test accuracy in each regime, published marks beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dualview.errors import RunError
from dualview.experiments.naming import setting_title
from dualview.experiments.published import NPK_ARCHITECTURES, NPK_OPTIMIZERS, REGIME_DATA, REGIMES
from dualview.experiments.records import RunRecord
from dualview.experiments.regimes.tables import (
    REGIME_NAMES,
    by_regime,
    by_setting,
    heading,
    published_for,
)
from dualview.experiments.summary import percent
from dualview.pages.axes import (
    kind_line,
    name_rows,
    panel,
    panel_heading,
    published_marks,
    row_mean,
    row_result,
)
from dualview.pages.style import LIGHT, house_style, kind_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS_OF: Mapping[str, str] = {
    "frnpf-ii": "dlgn",
    "frnpf-di": "dlgn-ones",
    "dlnpf": "dnn-wide",
    "flnpf": "dgn",
    "relu": "dnn",
}
"""Regime -> the kind of network whose colour and marker stand for it in this figure."""

CAPTION = (
    "A marker is the accuracy after the last epoch of one seed; the bar below is their mean ± "
    "sample standard deviation, which the number gives. Hollow diamonds are the published means "
    "(highest of any epoch) of {setting} on {data}."
)
CAPTIONS: Mapping[str, str] = {
    f"regimes-{arch}-{optimizer}": CAPTION.format(
        setting=setting_title(arch, optimizer, " with "),
        data=REGIME_DATA[arch],
    )
    for arch in NPK_ARCHITECTURES
    for optimizer in NPK_OPTIMIZERS
}
"""Name of a figure -> how to read it."""


def figures(records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """Name -> figure, one for each architecture and optimiser of which a run finished."""
    return {
        f"regimes-{group[0].architecture}-{group[0].config['optimizer']}": accuracies(group)
        for group in by_setting(records)
        if _scores(group)
    }


def accuracies(records: Sequence[RunRecord]) -> Figure:
    """One row for each regime: seeds, mean and standard deviation, and the published mean.

    Args:
        records: of one setting; runs that diverged are left out.

    Raises:
        RunError: no run finished, or records of several settings.
    """
    scores = _scores(records)
    if not scores or len(by_setting(records)) > 1:
        raise RunError(
            f"expected finished runs of one architecture and optimiser, got "
            f"{len(by_setting(records))} settings with {len(scores)} regimes; draw each by itself"
        )
    regimes = [regime for regime in REGIMES if regime in scores]
    with house_style():
        height = 1.0 + 0.48 * len(regimes)
        figure, axes = panel(5.2, height, left=1.0, right=1.25, bottom=0.54, top=0.42)
        axes.margins(x=0.06)
        for place, regime in enumerate(regimes):
            _draw(axes, place, regime, records, scores[regime])
        name_rows(axes, [REGIME_NAMES[regime] for regime in regimes])
        axes.set_xlabel("test accuracy, %", color=LIGHT["muted"])
        panel_heading(axes, heading(records[0]), left=0)
    return figure


def _scores(records: Sequence[RunRecord]) -> dict[str, list[float]]:
    """Regime -> accuracies in percent of its finished runs."""
    scores: dict[str, list[float]] = {}
    for record in sorted(records, key=lambda record: record.seed):
        if record.test_accuracy is not None:
            scores.setdefault(record.kind, []).append(100 * record.test_accuracy)
    return scores


def _draw(
    axes: Axes, place: int, regime: str, records: Sequence[RunRecord], values: Sequence[float]
) -> None:
    """One row, `place` rows from the top."""
    kind, row = COLOURS_OF[regime], by_regime(records)[regime]
    row_mean(axes, place + 0.22, row.accuracy_mean, row.accuracy_sd, kind_style(kind).light)
    heights = [place - 0.05] * len(values)
    marks = kind_line(axes, kind, values, heights, ls="none", ms=5.2, zorder=3)
    marks.set_label(REGIME_NAMES[regime])
    published = published_for(records[0]).get(regime)
    if published is not None:
        published_marks(axes, [published.percent], [place - 0.32], "published")
    row_result(axes, place, percent(row.accuracy_mean, row.accuracy_sd))
