"""The figures of the experiment `pruning`: accuracy against the share of removed weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from dualview.experiments.pruning.tables import ORDERS, network_name, thinned_out
from dualview.experiments.records import RunRecord
from dualview.pages.axes import kind_line, legend_below, panel, panel_heading
from dualview.pages.style import LIGHT, house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTIONS: Mapping[str, str] = {
    f"{kind}-pruning": "Test accuracy when so many weights are removed, least important first, "
    "without training afterwards; mean over seeds."
    for kind in ("dnn", "dlgn")
}

_DRAWN = {"size": "dnn", "balanced size": "dgn", "paths": "dlgn"}
"""Order of removal -> the kind whose colour and marker it has."""


def figures(records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """Name -> figure, one for each architecture and kind."""
    return {
        f"{runs[0].architecture}-{runs[0].kind}-pruning": _curves(runs)
        for runs in thinned_out(records)
    }


def _curves(runs: Sequence[RunRecord]) -> Figure:
    shares = runs[0].measurements["shares"]
    with house_style():
        figure, axes = panel(5.2, 3.9, left=0.62, right=0.25, bottom=1.05, top=0.46)
        for order, name in ORDERS.items():
            means = [
                100 * fmean(run.measurements[order][i] for run in runs) for i in range(len(shares))
            ]
            removed = [100 * share for share in shares]
            kind_line(axes, _DRAWN[order], removed, means, ms=4.2, label=name)
        axes.set_xlabel("weights removed, %", color=LIGHT["muted"])
        axes.set_ylim(0, 102)
        panel_heading(axes, f"Test accuracy, %: {network_name(runs[0])}")
        legend_below(axes, columns=3)
    return figure
