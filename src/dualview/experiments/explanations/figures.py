"""The figures of the experiment `explanations`: deletion and insertion curves of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dualview.experiments.explanations.tables import METHODS, network_name, tried_ones
from dualview.experiments.records import RunRecord
from dualview.pages.style import KIND_STYLES, LIGHT, house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTIONS: Mapping[str, str] = {
    "dnn-curves": "ReLU network. Probability of the predicted class while pixels are taken away "
    "(left) or given back (right), those first that speak most for it; mean over examples, bands "
    "of one standard error. Low is good on the left, high on the right.",
    "dgn-curves": "DGN, to be read as the figure of the ReLU network.",
    "dlgn-curves": "DLGN, to be read as the figure of the ReLU network.",
}
"""Figure of an architecture -> how to read it."""

STYLES: Mapping[str, tuple[str, str]] = {
    "paths": ("dlgn", "-"),
    "softened-paths": ("dlgn-ones", "--"),
    "gradient-input": ("dgn", "-."),
    "integrated-gradients": ("dnn-wide", "-"),
    "deeplift": ("dlgn-sf", "--"),
    "random": ("dnn-ones", ":"),
}
"""Method -> the kind whose colour it has, and its dashes."""


def figures(records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """Name -> figure, one for each network that was tried; of several seeds, the first."""
    found: dict[str, Figure] = {}
    for record in tried_ones(records):
        name = f"{record.architecture}-{record.kind}-curves"
        if name not in found:
            found[name] = curves(record.measurements, network_name(record))
    return found


def curves(measured: Mapping[str, Any], title: str) -> Figure:
    """Both curves of one network, side by side.

    Args:
        measured: as a record keeps it (`explanations.trial.measured`).
        title: the network's name.
    """
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(7.4, 3.7))
        panels = figure.subplots(1, 2, sharey=True)
        figure.subplots_adjust(left=0.08, right=0.985, top=0.84, bottom=0.3, wspace=0.08)
        for axes, name, what in zip(
            panels, ("deletion", "insertion"), ("taken away", "given back"), strict=True
        ):
            _panel(axes, measured, name)
            axes.set_xlabel(f"pixels {what}, %", color=LIGHT["muted"])
        panels[0].set_ylim(0, 1.02)
        figure.text(0.02, 0.93, f"Probability of the predicted class: {title}")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=3, frameon=False, fontsize="small")
    return figure


def _panel(axes: Axes, measured: Mapping[str, Any], name: str) -> None:
    x = [100 * fraction for fraction in measured["fractions"]]
    for i, method in enumerate(measured["methods"]):
        kind, dashes = STYLES[method]
        y, error = measured[f"{name}_curve"][i], measured[f"{name}_curve_error"][i]
        colour = KIND_STYLES[kind].light
        axes.plot(x, y, color=colour, ls=dashes, lw=1.6, label=METHODS[method])
        low, high = zip(*((v - e, v + e) for v, e in zip(y, error, strict=True)), strict=True)
        axes.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)
    axes.tick_params(length=3, width=0.7)
