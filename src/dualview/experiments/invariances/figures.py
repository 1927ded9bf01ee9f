"""Figures of the experiment `invariances`: constant input, gate orders, dropped blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from dualview.experiments.curves import recovered_accuracy, recovered_by_seed
from dualview.experiments.invariances.tables import (
    AS_BUILT,
    BLOCK_KINDS,
    Orders,
    dropped,
    dropping_of,
    inputs_of,
    order_accuracies,
    orders_of,
)
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import kind_name, mean_sd
from dualview.pages.axes import kind_line, name_above, panel, panel_heading
from dualview.pages.style import LIGHT, house_style, kind_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTIONS: Mapping[str, str] = {
    "constant-input": "C4GAP. A marker is one seed: its test accuracy divided by the DNN’s with "
    "the same seed; hollow markers read the constant 1. The bar below is their mean ± sample "
    "standard deviation.",
    "gate-orders": "C4GAP. The DLGN trained with each order of its gates; a marker is one seed, "
    "the filled ones are the order as built, lines are means over seeds.",
    "dropped-blocks": "Test accuracy of the trained residual network without one block, means "
    "over seeds; the first point is the whole network.",
}


def figures(records: Sequence[RunRecord]) -> Mapping[str, Figure]:
    """Name -> figure, for the parts that were run."""
    found = {}
    inputs, orders, dropping = inputs_of(records), orders_of(records), dropping_of(records)
    if any(recovered_by_seed(inputs).values()):
        found["constant-input"] = recovered_accuracy(inputs)
    if orders:
        found["gate-orders"] = gate_orders(orders, _reference(inputs, orders))
    if dropping:
        found["dropped-blocks"] = dropped_blocks(dropping)
    return found


def _reference(records: Sequence[RunRecord], orders: Orders) -> float | None:
    """Mean accuracy of the DNN with the seeds of the orders."""
    seeds = {run.seed for runs in orders.values() for run in runs}
    dnn = [run for run in records if run.kind == "dnn" and run.seed in seeds]
    return mean_sd([run.test_accuracy for run in dnn if run.test_accuracy is not None])[0]


def gate_orders(orders: Orders, reference: float | None = None) -> Figure:
    """A row for each order of the gates, from the least accurate down to the most.

    Args:
        orders: order -> runs of the DLGN trained with it.
        reference: accuracy of the DNN with the same seeds, drawn as a line.
    """
    accuracies = order_accuracies(orders)
    ordered = sorted(accuracies, key=lambda order: fmean(accuracies[order]))
    with house_style():
        height = 1.1 + 0.19 * len(ordered)
        figure, axes = panel(5.2, height, left=1.0, right=0.3, bottom=0.54, top=0.46)
        for place, order in enumerate(ordered):
            built, shown = order == AS_BUILT, [100 * value for value in accuracies[order]]
            size = 7.0 if built else 5.0
            kind_line(
                axes, "dlgn", shown, [place] * len(shown), hollow=not built, ls="none", ms=size
            )
        if reference is not None:
            _vertical(axes, "DNN", 100 * reference)
        if AS_BUILT in accuracies:
            _vertical(axes, "as built", 100 * fmean(accuracies[AS_BUILT]))
        axes.set_yticks(range(len(ordered)), [" ".join(map(str, order)) for order in ordered])
        axes.set_ylim(len(ordered) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0, labelcolor=LIGHT["ink"])
        axes.margins(x=0.08)
        axes.set_xlabel("test accuracy, %", color=LIGHT["muted"])
    return figure


def _vertical(axes: Axes, name: str, value: float) -> None:
    """A line at an accuracy, named above the panel."""
    own = name != "DNN"
    colour = kind_style("dlgn" if own else "dnn").light
    axes.axvline(value, color=colour, lw=1.0, ls="-" if own else (0, (3, 2)), zorder=1)
    name_above(axes, value, name, 16 if own else 5, ha="center", color=colour)


def dropped_blocks(records: Sequence[RunRecord]) -> Figure:
    """Accuracy without each block: lines are means over seeds, bars at the left the whole network.

    Solid: blocks dropped from the weights network alone (a DNN is one network); dashed: from the
    gating network too.
    """
    names = [name.removeprefix("stages.") for name in records[0].measurements["blocks"]]
    with house_style():
        figure, axes = panel(5.2, 3.6, left=0.56, right=0.3, bottom=0.54, top=0.46)
        for kind in BLOCK_KINDS:
            whole = [r.measurements["whole"] for r in records if r.kind == kind]
            for place in ("weights", "both"):
                runs = dropped(records, kind, place)
                if runs:
                    mean = [fmean(values) for values in zip(*runs, strict=True)]
                    _draw_place(axes, kind, place, [fmean(whole), *mean])
        axes.set_xticks(range(len(names) + 1), ["none", *names])
        axes.tick_params(axis="x", labelrotation=90 if len(names) > 12 else 0)
        axes.set_xlabel("residual block dropped, stage.block", color=LIGHT["muted"])
        panel_heading(axes, "Test accuracy, %")
        axes.legend(frameon=False, loc="lower right", fontsize="small")
    return figure


def _draw_place(axes: Axes, kind: str, place: str, values: Sequence[float]) -> None:
    dashed = kind != "dnn" and place == "both"
    label = kind_name(kind)
    if kind != "dnn":
        label += ", weights network" if place == "weights" else ", both networks"
    shown = [100 * value for value in values]
    line = kind_line(axes, kind, range(len(values)), shown, hollow=dashed, ms=4.8, lw=1.5)
    line.set(ls=(0, (4, 1.6)) if dashed else "-", label=label)
