"""Properties:
- lines are the mean accuracies over the stages, one for each learner; published marks beside them;
- a learner without results has no line; every setting has a figure;
- nothing to draw, and several settings at once, are refused.
"""

from __future__ import annotations

import pytest

from dualview.errors import RunError
from dualview.experiments.gate_learning.figures import CAPTIONS, LINES, NAME, figures, over_stages
from dualview.experiments.published import GATE_LEARNING
from dualview.pages.style import figure_svg
from tests.experiments.gate_learning.test_tables import RECORDS, stage_records
from tests.record_cases import diverged


def test_lines_are_the_records() -> None:
    (axes,) = over_stages(RECORDS).axes
    lines = {bar.get_label(): bar.lines[0] for bar in axes.containers}
    weights = lines[LINES["weights"].label]
    assert list(weights.get_xdata()) == list(range(7))
    assert list(weights.get_ydata()) == pytest.approx([60.5 + 2 * stage for stage in range(7)])
    kernel = lines[LINES["kernel"].label]
    assert list(kernel.get_ydata()) == pytest.approx([30.5 + 2 * stage for stage in range(7)])
    assert list(lines[LINES["relu"].label].get_xdata()) == list(range(1, 7))


def test_published_marks() -> None:
    (axes,) = over_stages(RECORDS).axes
    (marks,) = [line for line in axes.lines if "published" in str(line.get_label())]
    pairs = zip(marks.get_xdata(), marks.get_ydata(), strict=True)
    assert dict(pairs) == {stage: value.percent for stage, value in GATE_LEARNING.items()}


def test_a_learner_without_results_has_no_line() -> None:
    (axes,) = over_stages(stage_records(0, 0)).axes
    assert LINES["relu"].label not in {bar.get_label() for bar in axes.containers}


def test_figures() -> None:
    more = [record for stage in range(3) for record in stage_records(stage, 0, width=16)]
    made = figures(RECORDS + more)
    assert list(made) == [NAME, f"{NAME}-2"]
    assert NAME in CAPTIONS
    assert figure_svg(made[NAME], "a", "x") == figure_svg(made[NAME], "a", "x")
    assert not figures([diverged(record) for record in stage_records(0, 0)])


def test_refused() -> None:
    with pytest.raises(RunError, match="draw each setting by itself"):
        over_stages(RECORDS + stage_records(0, 0, width=16))
    with pytest.raises(RunError, match="expected finished runs"):
        over_stages([diverged(record) for record in stage_records(0, 0)])
