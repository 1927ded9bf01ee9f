"""Figures of a comparison on a table: scores with their spread, and bars of what columns add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dualview.pages.axes import panel
from dualview.pages.style import FONT_SIZE, KIND_STYLES, LIGHT, house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dualview.tabular.comparing.findings import Explained
    from dualview.tabular.comparing.folds import ModelScores

MOST_BARS = 10
"""Columns that are drawn; of a sum the others are one bar."""

COLOURED = {"DLGN": "dlgn", "its tree": "dlgn-sf"}
"""Estimators that have a colour, and the kind whose colour it is."""

LINE = 0.34
"""Inches from one row to the next."""

LETTERS = 24
"""Of a name; longer ones lose their ends."""


def scores_figure(scores: Sequence[ModelScores], measure: str) -> Figure:
    """A dot for each fold, a bar at their mean, a ring for the rows held out.

    Args:
        scores: of each estimator, from above to below.
        measure: what they are.
    """
    with house_style():
        figure, axes = _rows([one.name for one in scores], longest=18)
        for row, one in enumerate(scores):
            kind = COLOURED.get(one.name)
            colour = KIND_STYLES[kind].light if kind else LIGHT["muted"]
            folds = [_percent(value, measure) for value in one.folds]
            axes.plot(folds, [row] * len(folds), "o", ms=4.5, color=colour, alpha=0.55, mew=0)
            mean = float(np.mean(folds))
            axes.plot([mean, mean], [row - 0.28, row + 0.28], color=colour, lw=2.2)
            held_out = _percent(one.held_out, measure)
            axes.plot([held_out], [row], "o", ms=9, mfc="none", mec=colour, mew=1.4)
        axes.set_xlabel("accuracy, %" if measure == "accuracy" else measure, color=LIGHT["muted"])
        _clip(axes, scores, measure)
    return figure


def _percent(value: float, measure: str) -> float:
    return 100 * value if measure == "accuracy" else value


def _clip(axes: Axes, scores: Sequence[ModelScores], measure: str) -> None:
    """An R² far below 0 says no more than one of -1."""
    if measure != "accuracy":
        worst = min(min(*one.folds, one.held_out) for one in scores)
        axes.set_xlim(left=max(-1.0, worst - 0.05) if worst < 0 else None)


def importance_figure(importance: Sequence[tuple[str, float]]) -> Figure:
    """Mean sizes of contributions, the largest first."""
    shown = importance[:MOST_BARS]
    with house_style():
        figure, axes = _rows([name for name, _ in shown])
        values = [value for _, value in shown]
        axes.barh(range(len(shown)), values, color=KIND_STYLES["dlgn"].light, height=0.62)
        axes.set_xlabel("mean |contribution| to the score", color=LIGHT["muted"])
    return figure


def explained_figure(one: Explained) -> Figure:
    """What columns add to one score, and what they sum to."""
    parts = [(f"{_short(name, 15)} = {_short(value, 9)}", part) for name, value, part in one.parts]
    names, values = _few(parts)
    names, values = [*names, "biases"], [*values, one.rest]
    with house_style():
        figure, axes = _rows([*names, "sum: the score"], longest=27)
        for row, value in enumerate([*values, one.score]):
            kind = "dlgn" if value >= 0 else "dgn"
            colour = LIGHT["ink"] if row == len(values) else KIND_STYLES[kind].light
            axes.barh(row, value, color=colour, height=0.62)
        axes.axvline(0, color=LIGHT["muted"], lw=0.8)
        axes.set_xlabel(f"added to the score of {_short(one.of, 40)}", color=LIGHT["muted"])
    return figure


def _few(parts: Sequence[tuple[str, float]]) -> tuple[list[str], list[float]]:
    """Names and values, those beyond `MOST_BARS` added up."""
    count = len(parts) if len(parts) == MOST_BARS + 1 else MOST_BARS
    shown, rest = parts[:count], parts[count:]
    names, values = [name for name, _ in shown], [value for _, value in shown]
    if rest:
        names.append(f"all others ({len(rest)})")
        values.append(sum(value for _, value in rest))
    return names, values


def _rows(names: Sequence[str], longest: int = LETTERS) -> tuple[Figure, Axes]:
    """Axes with a name at each row, from above to below."""
    shown = [_short(name, longest) for name in names]
    left = 0.25 + 0.078 * max(map(len, shown))
    height = LINE * len(shown) + 0.75
    figure, axes = panel(5.4, height, left=left, right=0.2, bottom=0.6, top=0.15)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_yticks(range(len(shown)), shown, fontsize=FONT_SIZE - 1, color=LIGHT["ink"])
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    return figure, axes


def _short(text: str, most: int) -> str:
    """A name that fits; a long one keeps both its ends.

    >>> _short("missing_since_a_long_time", 12)
    'missing…time'
    """
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    end = (most - 1) // 3 + 1
    return f"{text[: most - 1 - end]}…{text[-end:]}"
