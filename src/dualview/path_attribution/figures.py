"""Figures of explanations: the strongest paths over the layers, and what each layer adds.

Made from the results of `path_attribution`, without torch, in the house style.
Red adds to an output, blue takes from it; dashes say so to readers who cannot tell the two apart.
Sizes are in inches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dualview.arguments import instance_of, several, takes
from dualview.errors import RunError
from dualview.pages.axes import panel
from dualview.pages.style import FONT_SIZE, KIND_STYLES, LIGHT, SMALL_FONT_SIZE, house_style
from dualview.path_attribution.paths import Path, PathNode, TopPaths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dualview.path_attribution.contributions import LayerContributions

ADDS, TAKES = KIND_STYLES["dgn"].light, KIND_STYLES["dlgn"].light
"""Colours of positive and of negative contributions."""
PARTS: Mapping[str, str] = {
    "through": KIND_STYLES["dnn"].light,
    "skips": KIND_STYLES["dnn-wide"].light,
    "biases": KIND_STYLES["dgn-ones"].light,
}
"""Part of a layer -> its colour."""
MOST_COLUMNS = 16
"""Layers beyond which only some are named on the axis of `path_graph`, and no unit is."""
BESIDE = 0.13
"""How far from their units, in rows, the first and the last path are drawn."""
LABELLED_ROWS = 14
"""Units of a column that are named."""


# ------------------------------------------------------------------------------------------- paths


@takes(RunError, top=instance_of(TopPaths, repair="dualview.top_paths(net, x, output)"))
def path_graph(top: TopPaths) -> Figure:
    """The strongest paths over the layers: a column for the input, each gated layer, the output.

    A line is a path, as wide as |contribution|; a dot is a unit, strongest path on top. A line that
    passes a column without a dot goes by a skip; one that begins at a diamond begins at a bias.

    Args:
        top: from `top_paths`; it holds at least one path.

    Raises:
        RunError: there is no path to draw.
    """
    if not top.paths:
        raise RunError("top: expected at least one path to draw, got none (all contribute 0)")
    layout = _layout(top.paths)
    columns = len(layout.columns)
    width = min(1.1 + 0.62 * columns, 14.0) if columns > 8 else 5.4
    height = 1.15 + 0.27 * max(3, layout.rows)
    with house_style():
        figure, axes = panel(width, height, left=0.35, right=0.55, bottom=0.5, top=0.4)
        largest = abs(top.paths[0].contribution)
        count = len(top.paths)
        for rank, path in reversed(list(enumerate(top.paths))):
            beside = BESIDE * (2 * rank - count + 1) / count
            _draw_path(axes, layout, path, abs(path.contribution) / largest, beside)
        _draw_units(axes, layout)
        _name_columns(axes, layout)
        _describe(axes, top)
        figure.text(
            0.35 / width,
            0.1 / height,
            "red, full: adds to the output; blue, dashed: takes from it",
            fontsize=SMALL_FONT_SIZE,
            color=LIGHT["muted"],
        )
    return figure


_Place = tuple[float, float]


@dataclass(frozen=True)
class _Layout:
    """Names of the columns, and where each stop is drawn."""

    columns: tuple[str, ...]
    places: dict[PathNode, _Place]
    rows: int


def _layout(paths: Sequence[Path]) -> _Layout:
    """Units in rows, in the order of the strongest path that passes them."""
    gates = sorted({node.layer for path in paths for node in path.gated_units}, key=_gate_number)
    outputs = list(dict.fromkeys(path.nodes[-1].layer for path in paths))
    columns = ("input", *gates, outputs[0] if len(outputs) == 1 else "output")
    number = {name: place for place, name in enumerate(columns)}
    filled: dict[float, list[tuple[Any, ...]]] = {}
    places: dict[PathNode, _Place] = {}
    for path in paths:
        for node, column in _stops(path, number):
            rows = filled.setdefault(column, [])
            unit = (node.layer, node.kind, node.channel, node.position)
            if unit not in rows:
                rows.append(unit)
            places[node] = (column, float(rows.index(unit)))
    return _Layout(columns, places, max(map(len, filled.values())))


def _gate_number(name: str) -> int:
    return int(name.rpartition("_")[2])


def _stops(path: Path, number: Mapping[str, int]) -> list[tuple[PathNode, float]]:
    """The stops that are drawn, with their columns; a bias stands half a column before its unit."""
    last = len(number) - 1
    gates = [(node, float(number[node.layer])) for node in path.gated_units]
    end = path.nodes[-1]
    if end is path.start:  # the output's own bias: from it to the unit
        end = replace(end, kind="weights")
    after = gates if end in path.gated_units else [*gates, (end, float(last))]
    first = 0.0 if path.start.kind == "input" else after[0][1] - 0.5
    return [(path.start, first), *after]


def _draw_path(axes: Axes, layout: _Layout, path: Path, share: float, beside: float) -> None:
    """A line through the path's stops, `beside` rows below them so that no other lies on it."""
    number = {name: place for place, name in enumerate(layout.columns)}
    places = [layout.places[node] for node, _ in _stops(path, number)]
    adds = path.contribution > 0
    axes.plot(
        [x for x, _ in places],
        [y + beside for _, y in places],
        color=ADDS if adds else TAKES,
        ls="-" if adds else (0, (4, 1.4)),
        lw=0.4 + 1.5 * share,
        alpha=0.35 + 0.5 * share,
        solid_capstyle="round",
        zorder=2,
    )


def _draw_units(axes: Axes, layout: _Layout) -> None:
    """A dot or diamond at every stop, and its name where there is room."""
    named = len(layout.columns) <= MOST_COLUMNS
    units = {place: node for node, place in layout.places.items()}  # their factors may differ
    for (x, y), node in units.items():
        bias = node.kind == "bias"
        axes.plot([x], [y], marker="D" if bias else "o", ms=4, color=LIGHT["ink"], mew=0, zorder=3)
        if named and y < LABELLED_ROWS:
            axes.annotate(
                _unit(node),
                (x, y),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=0.85 * SMALL_FONT_SIZE,
                color=LIGHT["muted"],
                bbox={"facecolor": LIGHT["page"], "edgecolor": "none", "pad": 0.4, "alpha": 0.7},
            )


def _unit(node: PathNode) -> str:
    if node.kind == "bias":
        return "bias"
    place = ",".join(map(str, node.position))
    return f"{node.channel} ({place})" if place else str(node.channel)


def _name_columns(axes: Axes, layout: _Layout) -> None:
    count = len(layout.columns)
    step = math.ceil(count / MOST_COLUMNS)
    shown = [place for place in range(count) if place % step == 0 or place == count - 1]
    if step > 1 and shown[-1] - shown[-2] < step:
        del shown[-2]
    names = [
        layout.columns[place].replace("gate_", "gate " if step == 1 else "") for place in shown
    ]
    axes.set_xticks(shown, names, fontsize=SMALL_FONT_SIZE)
    axes.tick_params(axis="x", length=0)
    axes.set_yticks([])
    axes.set_xlim(-0.4, count - 0.6)
    axes.set_ylim(max(3, layout.rows) - 0.4, -0.8)
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _describe(axes: Axes, top: TopPaths) -> None:
    """How much of the output the paths are."""
    text = (
        f"output {top.output}: {_number(top.total)}; {len(top.paths)} of {_number(top.n_paths)} "
        f"paths add up to {_number(top.sum)}"
    )
    axes.set_title(text, loc="left", fontsize=FONT_SIZE, color=LIGHT["ink"], pad=8)


def _number(value: float | int) -> str:
    """Three digits, with a true minus and a short exponent."""
    text = f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    return text.replace("-", "−")


# ------------------------------------------------------------------------------------------ layers


def _layer(value: Any) -> Any:
    """A check as `dualview.arguments` has them. PyTorch is imported here."""
    from dualview.path_attribution.contributions import LayerContributions

    return instance_of(LayerContributions)(value)


@takes(RunError, layers=several(_layer, "what layer_contributions gives", empty=True))
def layer_bars(layers: Sequence[LayerContributions]) -> Figure:
    """What passes each gated layer's units, its skips, and what its biases add: three bars a layer.

    The line is the output; in every row the three bars sum to it.

    Args:
        layers: from `layer_contributions`, of one example and output.

    Raises:
        RunError: no layers, or of several outputs.
    """
    if not layers or len({(layer.output, layer.total) for layer in layers}) > 1:
        raise RunError(
            f"layers: expected layers of one example and output, got {len(layers)} of "
            f"{len({(layer.output, layer.total) for layer in layers})}; draw each by itself"
        )
    with house_style():
        height = 1.3 + 0.42 * len(layers)
        figure, axes = panel(5.2, height, left=0.8, right=0.3, bottom=0.55, top=0.55)
        axes.axvline(0, color=LIGHT["muted"], lw=0.8)
        axes.axvline(layers[0].total, color=LIGHT["ink"], lw=1.1, ls=(0, (3, 2)))
        for offset, (part, colour) in zip((-0.26, 0.0, 0.26), PARTS.items(), strict=True):
            axes.barh(
                [row + offset for row in range(len(layers))],
                [getattr(layer, part) for layer in layers],
                height=0.24,
                color=colour,
                label={"through": "through its units"}.get(part, part),
            )
        axes.set_ylim(len(layers) - 0.45, -0.55)
        names = [layer.name.replace("gate_", "gate ") for layer in layers]
        axes.set_yticks(range(len(layers)), names, fontsize=SMALL_FONT_SIZE)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=SMALL_FONT_SIZE)
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(
            f"contribution to output {layers[0].output}; dashed: {_number(layers[0].total)}, "
            f"the output",
            color=LIGHT["muted"],
            fontsize=SMALL_FONT_SIZE,
        )
        axes.legend(
            ncols=3,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            frameon=False,
            fontsize=SMALL_FONT_SIZE,
            borderaxespad=0.2,
            handlelength=1,
            columnspacing=1.2,
        )
    return figure
