"""Drawing of a tree of hyperplanes: boxes of conditions, and coloured leaves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dualview.pages.style import FONT_SIZE, LIGHT, house_style
from dualview.primal.figures.partition import TINTS
from dualview.tabular.growing import Leaf, Node, Split
from dualview.tabular.wording import conclusion, condition

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dualview.tabular.tree import ObliqueTree

LEAF_WIDTH, LEVEL_HEIGHT = 1.65, 1.25
"""Inches between leaves, and between levels."""

LONGEST = 26
"""Letters of a line of a box."""

BEFORE_SIGNS = re.compile(r" ([-+<>]=? )")


@dataclass(frozen=True, eq=False)
class Placed:
    """A node and where it is drawn, in inches; down is negative."""

    node: Node
    x: float
    y: float
    below: Placed | None = None
    above: Placed | None = None


def tree_figure(tree: ObliqueTree, most: int) -> Figure:
    """The tree: rows go right where a condition holds.

    Args:
        tree: with few enough leaves to be read.
        most: columns that a condition names.
    """
    from matplotlib.figure import Figure

    root, leaves = _placed(tree.root, 0.0, 0)
    width, height = max(3.0, LEAF_WIDTH * leaves), LEVEL_HEIGHT * (tree.depth + 1)
    with house_style():
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        middle = LEAF_WIDTH * leaves / 2
        axes.set_xlim(middle - width / 2, middle + width / 2)
        axes.set_ylim(-height + LEVEL_HEIGHT / 2, LEVEL_HEIGHT / 2)
        _draw(axes, tree, root, most)
    return figure


def _placed(node: Node, left: float, depth: int) -> tuple[Placed, int]:
    """The node with its sides, and how many leaves it has."""
    y = -LEVEL_HEIGHT * depth
    if isinstance(node, Leaf):
        return Placed(node, left + LEAF_WIDTH / 2, y), 1
    below, first = _placed(node.below, left, depth + 1)
    above, second = _placed(node.above, left + LEAF_WIDTH * first, depth + 1)
    return Placed(node, (below.x + above.x) / 2, y, below, above), first + second


def _draw(axes: Axes, tree: ObliqueTree, placed: Placed, most: int) -> None:
    for side, answer in ((placed.below, "no"), (placed.above, "yes")):
        if side is None:
            continue
        ends = ([placed.x, side.x], [placed.y, side.y])
        axes.plot(*ends, color=LIGHT["muted"], lw=0.9, zorder=1)
        axes.text(
            placed.x + 0.5 * (side.x - placed.x),
            placed.y + 0.5 * (side.y - placed.y),
            answer,
            ha="center",
            va="center",
            fontsize=FONT_SIZE - 2,
            color=LIGHT["muted"],
            bbox={"boxstyle": "round,pad=0.12", "fc": LIGHT["page"], "ec": "none"},
            zorder=2,
        )
        _draw(axes, tree, side, most)
    lines = _lines(tree, placed.node, most)
    axes.text(
        placed.x,
        placed.y,
        "\n".join(lines),
        ha="center",
        va="center",
        fontsize=FONT_SIZE - 2.5,
        linespacing=1.15,
        zorder=3,
        parse_math=False,
        bbox={
            "boxstyle": "round,pad=0.35",
            "fc": _colour(tree, placed.node),
            "ec": LIGHT["muted"],
            "lw": 0.7,
        },
    )


def _colour(tree: ObliqueTree, node: Node) -> Any:
    """Of a leaf that of its class, the paler the more rows of other classes it has."""
    if isinstance(node, Split) or tree.classes is None:
        return LIGHT["page"]
    from matplotlib.colors import to_rgb

    best = int(node.value.argmax())
    tint = np.array(to_rgb(TINTS[best % len(TINTS)]))
    purity = (node.value[best] * len(node.value) - 1) / (len(node.value) - 1)
    return tuple(1 - (1 - tint) * (0.25 + 0.75 * max(0.0, float(purity))))


def _lines(tree: ObliqueTree, node: Node, most: int) -> list[str]:
    """Of a box."""
    rows = f"{node.rows} rows"
    if isinstance(node, Split):
        text = condition(tree, node, True, most)
    elif tree.classes is None:
        text = conclusion(tree, node, most)
    elif node.slopes is None:
        text = str(tree.classes[node.value.argmax()])
        rows = f"{100 * node.value.max():.3g} % of {rows}"
    else:
        text = f"linear, mostly {tree.classes[node.value.argmax()]}"
    return [*_wrapped(text), rows]


def _wrapped(text: str) -> list[str]:
    """Lines that break before signs; words that are too long lose their ends.

    >>> _wrapped("0.5 sepal width - 2 petal length > 3")
    ['0.5 sepal width', '- 2 petal length > 3']
    """
    lines = [""]
    for word in BEFORE_SIGNS.sub(r"\n\1", text).split("\n"):
        word = word if len(word) <= LONGEST else f"{word[: LONGEST - 1]}…"
        joined = f"{lines[-1]} {word}".strip()
        if len(joined) <= LONGEST or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines
