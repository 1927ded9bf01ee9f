"""Properties proved here.

1. Scores are drawn at their places, in percent where they are accuracies; an R² far below zero does
   not squeeze the others.
2. Bars of an explained prediction are its parts, those beyond ten added up, and end in their sum.
"""

import pytest

from dualview.tabular.comparing.figures import explained_figure, importance_figure, scores_figure
from dualview.tabular.comparing.findings import Explained
from dualview.tabular.comparing.folds import ModelScores

SCORES = [ModelScores("DLGN", (0.5, 0.75), 0.6, 1.0), ModelScores("MLP", (-9.0, 0.5), 0.4, 1.0)]


def test_scores():
    (axes,) = scores_figure(SCORES, "accuracy").axes
    assert list(axes.lines[0].get_xdata()) == [50, 75]
    assert list(axes.lines[2].get_xdata()) == [60]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["DLGN", "MLP"]
    (axes,) = scores_figure(SCORES, "R²").axes
    assert axes.get_xlim()[0] == -1


def test_bars_sum_up():
    parts = tuple((f"column {i}", "1", float(12 - i)) for i in range(12))
    one = Explained("line 3", "why", "yes", "no", 80.0, "yes", parts, 2.0)
    (axes,) = explained_figure(one).axes
    widths = [bar.get_width() for bar in axes.patches]
    assert len(widths) == 13
    assert widths[10] == 2 + 1
    assert sum(widths[:-1]) == pytest.approx(widths[-1])


def test_importance_shows_the_largest():
    (axes,) = importance_figure([(f"c{i}", 20.0 - i) for i in range(15)]).axes
    assert [bar.get_width() for bar in axes.patches] == [20.0 - i for i in range(10)]
