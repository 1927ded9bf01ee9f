"""A figure for each architecture, a row for each network, a filled marker for each seed."""

import pytest

from dualview.experiments.gating.figures import figures
from tests.experiments.gating.test_tables import learner
from tests.record_cases import diverged


def test_what_is_drawn():
    records = [
        learner("dlgn", 0, 0.5, 0.8),
        learner("dlgn", 1, 0.6, 0.9),
        learner("dgn", 0, 0.7, 0.8),
        diverged(learner("dlgn-fast", 0, 0.5, 0.5)),
    ]
    drawn = figures(records)
    assert list(drawn) == ["fc-changes"]
    (axes,) = drawn["fc-changes"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["DGN", "DLGN"]
    _, _, seeds, mean, base = axes.lines
    assert list(seeds.get_xdata()) == pytest.approx([50, 60])
    assert list(mean.get_xdata()) == pytest.approx([85])
    assert list(base.get_xdata()) == pytest.approx([55, 55])
