"""Axes of figures of one panel: their margins, the heading over them, labels that do not touch."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from dualview.pages.style import FONT_SIZE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


def panel(
    width: float, height: float, *, left: float, right: float, bottom: float, top: float
) -> tuple[Figure, Axes]:
    """A figure of one panel; sizes and margins in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.add_axes(
        (
            left / width,
            bottom / height,
            (width - left - right) / width,
            (height - bottom - top) / height,
        )
    )
    axes.tick_params(length=3, width=0.7)
    return figure, axes


def panel_heading(axes: Axes, text: str) -> None:
    """The quantity on the y axis, written level above the panel where it is easy to read."""
    axes.annotate(
        text,
        xy=(0, 1),
        xycoords="axes fraction",
        xytext=(-40, 10),
        textcoords="offset points",
        annotation_clip=False,
    )


def legend_below(axes: Axes, columns: int, gap: float = 0.2) -> None:
    """The names of what is drawn, under the panel by a share `gap` of its height."""
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -gap),
        ncols=columns,
        frameon=False,
        fontsize="small",
    )


def plain_log_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5 times powers of ten, written as plain decimals."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def label_ends(
    axes: Axes,
    names: Sequence[str],
    ends: Sequence[tuple[float, float]],
    colours: Sequence[str],
    *,
    at: float = 1.03,
    apart: float = 1.35,
    lead: bool = False,
) -> None:
    """Name lines at their right ends, pushed apart where the names would overlap.

    Args:
        axes: with all lines drawn.
        names: of the lines.
        ends: the last point (x, y) of each line.
        colours: of the names.
        at: where the names begin, in widths of the panel.
        apart: from one name to the next at least, in sizes of the font.
        lead: whether a thin line leads from each end to its name.
    """
    axes.autoscale_view()
    to_axes = axes.transAxes.inverted()
    heights = [float(to_axes.transform(axes.transData.transform(end))[1]) for end in ends]
    panel_points = 72 * axes.bbox.height / axes.figure.dpi
    placed = spread(heights, apart * FONT_SIZE / panel_points)
    for name, end, colour, height in zip(names, ends, colours, placed, strict=True):
        leading: dict[str, Any] = {"arrowstyle": "-", "color": colour, "lw": 0.6}
        leading |= {"relpos": (0, 0.5), "shrinkA": 2, "shrinkB": 4}
        axes.annotate(
            name,
            xy=end,
            xytext=(at, height),
            textcoords="axes fraction",
            color=colour,
            va="center",
            annotation_clip=False,
            arrowprops=leading if lead else None,
        )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move `heights` in 0 to 1 apart until neighbours differ by `gap`; their order is kept.

    Labels that would touch become a group, set over the mean of its heights.

    Example:
        >>> spread([0.5, 0.5, 0.0], 0.1)
        [0.45, 0.55, 0.0]
    """
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    groups: list[list[int]] = []
    centre: list[float] = []
    for index in order:
        groups.append([index])
        centre.append(_middle(heights, [index], gap))
        while len(groups) > 1 and (
            centre[-1] - centre[-2] < gap * (len(groups[-1]) + len(groups[-2])) / 2
        ):
            groups[-2:] = [groups[-2] + groups[-1]]
            centre[-2:] = [_middle(heights, groups[-1], gap)]
    placed = list(heights)
    for group, middle in zip(groups, centre, strict=True):
        for place, index in enumerate(group):
            placed[index] = middle + gap * (place - (len(group) - 1) / 2)
    return placed


def _middle(heights: Sequence[float], group: Sequence[int], gap: float) -> float:
    """Where the middle of a group of labels goes: over their mean, but inside 0 to 1."""
    half = gap * (len(group) - 1) / 2
    return min(max(fmean(heights[index] for index in group), half), max(half, 1 - half))
