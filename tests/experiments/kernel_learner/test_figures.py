"""A figure for each architecture, a point for each seed, learner and sort of gates."""

from dualview.experiments.kernel_learner.figures import figures
from dualview.experiments.kernel_learner.tables import DRAWN, LEARNT
from tests.experiments.kernel_learner.test_tables import machine


def test_what_is_drawn():
    drawn = figures([machine(LEARNT, 0, 0.7), machine(LEARNT, 1, 0.5), machine(DRAWN, 0, 0.4)])
    assert list(drawn) == ["fc-learners"]
    (axes,) = drawn["fc-learners"].axes
    soft, hard, kernel = axes.lines
    assert sorted(soft.get_ydata()) == [90, 90, 90]
    assert sorted(hard.get_ydata()) == [80, 80, 80]
    assert sorted(kernel.get_ydata()) == [40, 50, 70]
    assert max(kernel.get_xdata()) > 1 > min(kernel.get_xdata())
