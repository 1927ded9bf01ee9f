"""A figure for each network, a line an order, means over seeds."""

from dualview.experiments.pruning.figures import figures
from dualview.experiments.pruning.tables import ORDERS, SHOWN
from tests.experiments.pruning.test_tables import thinned


def test_what_is_drawn():
    drawn = figures([thinned(0, 0.5), thinned(1, 0.7)])
    assert list(drawn) == ["fc-dnn-pruning"]
    (axes,) = drawn["fc-dnn-pruning"].axes
    assert [line.get_label() for line in axes.lines] == list(ORDERS.values())
    assert list(axes.lines[0].get_xdata()) == [100 * share for share in SHOWN]
    assert list(axes.lines[0].get_ydata()) == [60.0] * len(SHOWN)
