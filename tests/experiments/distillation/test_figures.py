"""One figure an architecture, a line for each route, before the first epoch where it is known."""

from __future__ import annotations

import pytest

from dualview.experiments.distillation.figures import figures
from dualview.experiments.distillation.tables import ROUTES
from tests.record_cases import diverged, run_record


def test_what_is_drawn():
    before = {"before": 0.25}
    records = [
        run_record("dnn", architecture="c4gap"),
        run_record("dlgn", architecture="c4gap"),
        run_record("dlgn-distilled", architecture="c4gap", measurements=before),
        run_record("dlgn-distilled", 1, architecture="c4gap", measurements=before),
        diverged(run_record("dlgn", architecture="fc")),
    ]
    drawn = figures(records)
    assert list(drawn) == ["c4gap-routes"]
    (axes,) = drawn["c4gap-routes"].axes
    labels = [line.get_label() for line in axes.lines]
    assert labels == [ROUTES["dlgn"], ROUTES["dlgn-distilled"], "DNN"]
    nothing, distilled, teacher = axes.lines
    assert list(nothing.get_xdata()) == [1, 2, 3, 4, 5, 6]
    assert list(distilled.get_xdata()) == [0, 1, 2, 3, 4, 5, 6]
    assert distilled.get_ydata()[0] == 25.0
    runs = records[2:4]
    last = 100 * sum(run.curve[-1].test_accuracy for run in runs) / 2
    assert distilled.get_ydata()[-1] == pytest.approx(last)
    assert teacher.get_ydata()[0] == pytest.approx(100 * records[0].test_accuracy)
