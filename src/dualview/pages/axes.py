"""Axes of figures of one panel: their margins, the heading over them, labels that do not touch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from dualview.pages.style import FONT_SIZE, LIGHT, kind_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import Locator


def panel(
    width: float, height: float, *, left: float, right: float, bottom: float, top: float
) -> tuple[Figure, Axes]:
    """A figure of one panel; sizes and margins in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = axes_at(figure, left, bottom, width - left - right, height - bottom - top)
    axes.tick_params(length=3, width=0.7)
    return figure, axes


def axes_at(
    figure: Figure, left: float, bottom: float, width: float, height: float, **options: Any
) -> Axes:
    """Axes at a place of the figure, in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up), **options)


def tiles(
    count: int,
    columns: int,
    size: tuple[float, float],
    *,
    gap: float,
    title: float,
    room: float,
    narrowest: float,
    below: float = 0.0,
) -> tuple[Figure, list[Axes]]:
    """A figure of tiles for pictures, row by row, without axes; everything in inches.

    Args:
        count: of tiles.
        columns: tiles side by side.
        size: width and height of a tile.
        gap: from one tile to the next.
        title: room for a title above each.
        room: under all of them.
        narrowest: width of the figure at least.
        below: how much of the gap is under a tile.
    """
    from matplotlib.figure import Figure

    width, height = size
    step = height + gap + title
    across = max(columns * (width + gap) + gap, narrowest)
    up = math.ceil(count / columns) * step + room
    figure, found = Figure(figsize=(across, up)), []
    for place in range(count):
        line, column = divmod(place, columns)
        left, bottom = gap + column * (width + gap), up - (line + 1) * step + below
        found.append(axes_at(figure, left, bottom, width, height))
        found[-1].set_axis_off()
    return figure, found


def panel_heading(axes: Axes, text: str, left: float = 40) -> None:
    """The quantity on the y axis, written level above the panel, `left` points out of it."""
    axes.annotate(
        text,
        xy=(0, 1),
        xycoords="axes fraction",
        xytext=(-left, 10),
        textcoords="offset points",
        annotation_clip=False,
    )


def name_above(axes: Axes, x: float, text: str, height: float, **look: Any) -> None:
    """What stands at `x`, named so many points above the panel; `look` as matplotlib has it."""
    axes.annotate(
        text,
        xy=(x, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, height),
        textcoords="offset points",
        annotation_clip=False,
        **look,
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


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Rows from the top of the panel down, at 0, 1, ..., with their names on the left."""
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelcolor=LIGHT["ink"])
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)


def row_mean(axes: Axes, place: float, mean: float | None, sd: float | None, colour: str) -> None:
    """A bar at the height `place`: a fraction's mean ± standard deviation in %, if there is one."""
    if mean is not None and sd is not None:
        axes.plot([100 * (mean - sd), 100 * (mean + sd)], [place] * 2, color=colour, lw=1.6)
        axes.plot([100 * mean], [place], color=colour, marker="|", ms=9, mew=1.9)


def kind_line(
    axes: Axes,
    kind: str,
    x: Sequence[float],
    y: Sequence[float],
    *,
    hollow: bool = False,
    **line: Any,
) -> Line2D:
    """A line in the colour and with the markers of a kind of network; `line` as matplotlib has it.

    With ls="none" there are markers alone.
    """
    style = kind_style(kind)
    fill = LIGHT["page"] if hollow else style.light
    (drawn,) = axes.plot(x, y, color=style.light, marker=style.marker, mfc=fill, **line)
    return drawn


def published_marks(axes: Axes, x: Sequence[float], y: Sequence[float], label: str) -> None:
    """Hollow diamonds, which stand for numbers that others published."""
    axes.plot(
        x,
        y,
        ls="none",
        marker="D",
        ms=5.0,
        mfc=LIGHT["page"],
        mec=LIGHT["muted"],
        label=label,
        zorder=2,
    )


def row_result(axes: Axes, place: float, text: str) -> None:
    """A result of a row, to the right of the panel."""
    axes.annotate(
        text,
        xy=(1, place),
        xycoords=("axes fraction", "data"),
        xytext=(10, 0),
        textcoords="offset points",
        va="center",
        annotation_clip=False,
    )


def plain_log_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5 times powers of ten, written as plain decimals."""
    from matplotlib.ticker import LogLocator

    _plain_ticks(axis, LogLocator(subs=(1.0, 2.0, 5.0)))


def fixed_ticks(axis: Axis, places: Sequence[float]) -> None:
    """Ticks at these places alone, written as plain decimals."""
    from matplotlib.ticker import FixedLocator

    _plain_ticks(axis, FixedLocator(list(places)))


def _plain_ticks(axis: Axis, locator: Locator) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    axis.set_major_locator(locator)
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
    **text: Any,
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
        text: options of the names as matplotlib has them.
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
            **text,
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
