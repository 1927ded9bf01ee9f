"""Properties:
- markers are the seeds' accuracies after the last epoch, the bar their mean ± sd, the number says
  it; published means are hollow diamonds where the setting was published;
- every regime has a colour, every figure a caption, every name its own figure;
- nothing to draw, and several settings at once, are refused.
"""

from __future__ import annotations

import pytest

from dualview.errors import RunError
from dualview.experiments.published import REGIME_ACCURACY, REGIMES
from dualview.experiments.regimes.figures import CAPTIONS, COLOURS_OF, accuracies, figures
from dualview.experiments.regimes.tables import REGIME_NAMES
from dualview.pages.style import LIGHT, figure_svg, kind_style
from tests.experiments.regimes.test_tables import full, regime_record
from tests.record_cases import diverged


def test_markers_are_the_records() -> None:
    records = full()
    (axes,) = accuracies(records).axes
    for regime in REGIMES:
        (line,) = [line for line in axes.lines if line.get_label() == REGIME_NAMES[regime]]
        scores = [100 * r.test_accuracy for r in records if r.kind == regime and r.test_accuracy]
        assert list(line.get_xdata()) == pytest.approx(scores)
        assert line.get_color() == kind_style(COLOURS_OF[regime]).light
    assert [text.get_text() for text in axes.get_yticklabels()] == list(REGIME_NAMES.values())
    assert "95.50 ± 0.71" in [text.get_text() for text in axes.texts]


def test_published_marks() -> None:
    (axes,) = accuracies(full()).axes
    marks = [line for line in axes.lines if line.get_label() == "published"]
    expected = [value.percent for value in REGIME_ACCURACY["fc", "adam"].values()]
    assert [float(mark.get_xdata()[0]) for mark in marks] == expected
    assert {mark.get_markerfacecolor() for mark in marks} == {LIGHT["page"]}
    (axes,) = accuracies([regime_record("relu", 0, arch="c4gap")]).axes
    assert not [line for line in axes.lines if line.get_label() == "published"]


def test_a_figure_for_each_setting() -> None:
    made = figures(full() + full("gconv", "sgd"))
    assert list(made) == ["regimes-fc-adam", "regimes-gconv-sgd"]
    assert set(made) <= set(CAPTIONS)
    for name, figure in made.items():
        assert figure_svg(figure, name, "x") == figure_svg(figure, name, "x")


def test_diverged_runs_are_left_out() -> None:
    assert not figures([diverged(regime_record("relu", 0))])
    (axes,) = accuracies([diverged(regime_record("relu", 0)), regime_record("relu", 1)]).axes
    (line,) = [line for line in axes.lines if line.get_label() == "ReLU"]
    assert len(line.get_xdata()) == 1


def test_refused() -> None:
    with pytest.raises(RunError, match="draw each by itself"):
        accuracies(full() + full("gconv"))
    with pytest.raises(RunError, match="expected finished runs"):
        accuracies([diverged(regime_record("relu", 0))])
