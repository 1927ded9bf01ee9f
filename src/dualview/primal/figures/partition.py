"""Figure of a plane that a DLGN's gates cut into cells, coloured by what is decided there.

Lines have the colours of their layers, from the first to the last; the three examples are marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dualview.arguments import UnfitError, optional, several, takes, words
from dualview.errors import RunError
from dualview.pages.axes import panel
from dualview.pages.style import FONT_SIZE, LIGHT, house_style
from dualview.primal.figures.filters import line_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dualview.primal.partition import PartitionSlice

SIDE, KEY = 4.0, 1.15
"""Inches of the plane's longer side, and beside it for the key."""
TINTS = (
    "#a9c9ee",
    "#f4c7a1",
    "#b5dcb0",
    "#e6b3c8",
    "#d9d3ab",
    "#c6bde3",
    "#a8dcd6",
    "#f0b6b0",
    "#cfcfcf",
    "#dfe3a0",
)
"""Of decisions, in the order of the outputs; they begin anew after ten."""
MARKERS = ("o", "s", "^")


def _slice(value: Any) -> Any:
    """A check as `dualview.arguments` has them."""
    needed = ("decisions", "classes", "lines", "line_gates", "examples", "window")
    if not all(hasattr(value, name) for name in needed):
        raise UnfitError("a PartitionSlice", "dualview.partition_slice(net, a, b, c)")
    return value


@takes(
    RunError,
    found=_slice,
    names=optional(several(words, "a name for each output")),
    example_names=several(words, "three names"),
    axis_names=optional(several(words, "two names", length=2)),
)
def partition_map(
    found: PartitionSlice,
    names: Sequence[str] | None = None,
    example_names: Sequence[str] = ("a", "b", "c"),
    axis_names: Sequence[str] | None = None,
) -> Figure:
    """The plane of a `partition_slice`, in units of its Euclidean distance, or of two columns.

    Args:
        found: the cells and decisions.
        names: of the outputs. Default: their numbers.
        example_names: of the three examples.
        axis_names: of two columns, each in its own unit, as an estimator's `partition` has them;
            its examples are corners of the window, and are not marked. Default: a distance.

    Raises:
        RunError: an output without a name, or not three examples.
    """
    outputs = sorted({int(output) for output in found.classes})
    if len(example_names) != 3:
        raise RunError(f"example_names: expected three, got {len(example_names)}")
    if names is not None and outputs[-1] >= len(names):
        raise RunError(f"names: expected at least {outputs[-1] + 1}, got {len(names)}")
    with house_style():
        figure, axes = _panel_of(found, axis_names)
        _draw_decisions(axes, found)
        layers = _draw_lines(axes, found)
        if axis_names is None:
            _draw_examples(axes, found.examples, example_names)
        _key(figure, outputs, names, layers)
    return figure


def _panel_of(found: PartitionSlice, axis_names: Sequence[str] | None) -> tuple[Figure, Axes]:
    """Empty axes of the window: of one unit on both, or of a square for two columns."""
    extent = (found.window[1] - found.window[0], found.window[3] - found.window[2])
    width, height = (SIDE * side / max(extent) if axis_names is None else SIDE for side in extent)
    left = 0.5 if axis_names is None else 0.85
    figure, axes = panel(
        width + left + 0.1 + KEY,
        max(height, 2.2) + 0.7,
        left=left,
        right=0.1 + KEY,
        bottom=0.5,
        top=0.2,
    )
    axes.grid(visible=False)
    axes.set_xlim(found.window[:2])
    axes.set_ylim(found.window[2:])
    if axis_names is None:
        axes.set_aspect("equal", adjustable="box", anchor="NW")
        axes.set_xlabel("distance in the plane, in units of the input", color=LIGHT["muted"])
    else:
        axes.set_xlabel(axis_names[0], color=LIGHT["muted"])
        axes.set_ylabel(axis_names[1], color=LIGHT["muted"])
    return figure, axes


def _tint(output: int) -> str:
    return TINTS[output % len(TINTS)]


def _draw_decisions(axes: Axes, found: PartitionSlice) -> None:
    from matplotlib.collections import PolyCollection

    colours = [_tint(int(output)) for output in found.classes]
    # Edges in the colours of the areas, so that no ground shines through between two cells.
    areas = PolyCollection(
        list(found.decisions), facecolors=colours, edgecolors=colours, linewidths=0.3
    )
    axes.add_collection(areas)


def _draw_lines(axes: Axes, found: PartitionSlice) -> list[int]:
    """Draws the gates; returns their layers."""
    from matplotlib.collections import LineCollection

    layers = sorted({int(layer) for layer, _ in found.line_gates})
    ends = [_ends(line, found.window) for line in found.lines]
    colours = [line_colour(layers.index(int(layer)), len(layers)) for layer, _ in found.line_gates]
    width = 0.8 if len(ends) < 200 else 0.35
    axes.add_collection(LineCollection(ends, colors=colours, linewidths=width, alpha=0.75))
    return layers


def _ends(line: np.ndarray, window: Sequence[float]) -> np.ndarray:
    """Where a line p s + q t + r = 0 enters and leaves the window, (2, 2)."""
    p, q, r = line
    left, right, bottom, top = window
    if abs(q) * (top - bottom) >= abs(p) * (right - left):
        places = [(s, -(p * s + r) / q) for s in (left, right)]
    else:
        places = [(-(q * t + r) / p, t) for t in (bottom, top)]
    return np.array(places)


def _draw_examples(axes: Axes, places: np.ndarray, names: Sequence[str]) -> None:
    for (s, t), name, marker in zip(places, names, MARKERS, strict=True):
        axes.plot(
            s,
            t,
            marker,
            ms=7,
            mfc=LIGHT["page"],
            mec=LIGHT["ink"],
            mew=1.4,
            zorder=4,
            clip_on=False,
        )
        axes.annotate(
            name,
            (s, t),
            xytext=(7, 6),
            textcoords="offset points",
            zorder=5,
            bbox={"boxstyle": "round,pad=0.15", "fc": LIGHT["page"], "ec": "none", "alpha": 0.8},
        )


def _key(
    figure: Figure, outputs: Sequence[int], names: Sequence[str] | None, layers: Sequence[int]
) -> None:
    """Decisions and layers, below one another on the right."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(facecolor="none", edgecolor="none", label="decided:")]
    handles += [
        Patch(facecolor=_tint(output), label=names[output] if names else f"output {output}")
        for output in outputs
    ]
    handles += [Patch(facecolor="none", edgecolor="none", label="gates of:")]
    handles += [
        Line2D([], [], color=line_colour(k, len(layers)), lw=1.2, label=f"layer {layer}")
        for k, layer in enumerate(layers)
    ]
    figure.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=(1.0, 0.99),
        frameon=False,
        fontsize=FONT_SIZE - 2,
        handlelength=1.1,
        labelspacing=0.25,
    )
