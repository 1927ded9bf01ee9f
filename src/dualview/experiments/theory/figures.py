"""Figures of `dualview theory`: how errors fall with width and with the number of features.

Made from records, like those of `curves`: no tensors, one panel a figure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from dualview.errors import RunError
from dualview.experiments.theory.measurement import CurveRecord
from dualview.pages.axes import (
    fixed_ticks,
    kind_line,
    label_ends,
    panel,
    panel_heading,
    plain_log_ticks,
)
from dualview.pages.style import LIGHT, house_style, kind_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATE = -0.5
"""Slope of the guide lines."""
BESIDE = 1.03
"""Bars stand so far apart, as a factor of their size."""


def error_curves(curves: Sequence[CurveRecord], axis: str) -> Figure:
    """Root mean square error of single estimates against a size, both on logarithmic scales.

    Bars hold eight of ten draws; the dotted guides fall as the size to the power -1/2, at the
    mean height of their lines over the sizes that the slope is of.

    Args:
        curves: of one figure.
        axis: what the size is, for the horizontal axis.

    Raises:
        RunError: there are no curves, or one has no positive error to draw.
    """
    if not curves or any(
        min(p.error_rms, p.error_low) <= 0 for curve in curves for p in curve.points
    ):
        raise RunError(
            f"expected curves of positive errors to draw against {axis}, got "
            f"{[curve.name for curve in curves]}; measure them again"
        )
    with house_style():
        figure, axes = panel(5.2, 3.6, left=0.62, right=1.26, bottom=0.6, top=0.4)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        for place, curve in enumerate(curves):
            _draw(axes, curve, BESIDE ** (2 * place - len(curves) + 1))
        axes.autoscale_view()
        fixed_ticks(axes.xaxis, sorted({point.size for curve in curves for point in curve.points}))
        plain_log_ticks(axes.yaxis)
        axes.grid(axis="x", visible=False)
        axes.set_xlabel(axis, color=LIGHT["muted"])
        panel_heading(axes, "relative error, %")
        label_ends(
            axes,
            [f"{curve.label}\nslope {curve.slope:.2f}".replace("-", "−") for curve in curves],
            [(curve.points[-1].size, 100 * curve.points[-1].error_rms) for curve in curves],
            [kind_style(curve.kind).light for curve in curves],
            apart=2.6,
            linespacing=1.25,
        )
    return figure


def _draw(axes: Axes, curve: CurveRecord, beside: float) -> None:
    colour = kind_style(curve.kind).light
    sizes = [point.size for point in curve.points]
    errors = [100 * point.error_rms for point in curve.points]
    level = fmean(
        math.log(error) - RATE * math.log(size)
        for size, error in zip(sizes, errors, strict=True)
        if size >= curve.fit_from
    )
    guide = [math.exp(level) * size**RATE for size in sizes]
    axes.plot(sizes, guide, color=LIGHT["muted"], lw=1.0, ls=":", label="_guide")
    for point in curve.points:
        ends = [100 * point.error_low, 100 * point.error_high]
        axes.plot([point.size * beside] * 2, ends, color=colour, lw=0.9, alpha=0.45)
    kind_line(axes, curve.kind, sizes, errors, lw=1.6, ms=4.8, label=curve.label, zorder=3)
