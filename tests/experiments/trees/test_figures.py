"""Two figures for each number of columns: angles by level, and while training goes on."""

from dualview.experiments.trees.figures import figures
from tests.experiments.trees.test_tables import learnt


def test_what_is_drawn():
    drawn = figures([learnt(0), learnt(0, columns=100)])
    assert list(drawn) == [
        f"{columns}-columns-{name}" for columns in (20, 100) for name in ("gates", "moving")
    ]
    (axes,) = drawn["20-columns-gates"].axes
    assert [line.get_label() for line in axes.lines] == [
        f"{name}, {told}" for name in ("DLGN", "DLGN-SF") for told in ("untrained", "trained")
    ]
    assert list(axes.lines[1].get_ydata()) == [4, 9]
    (axes,) = drawn["20-columns-moving"].axes
    assert [line.get_label() for line in axes.lines] == [
        f"{name}, {told}" for name in ("DLGN", "DLGN-SF") for told in ("root", "other nodes")
    ]
    assert list(axes.lines[0].get_xdata()) == [0, 1, 2]
    assert list(axes.lines[0].get_ydata()) == [60, 40, 20]
    assert list(axes.lines[1].get_ydata()) == [60, 55, 20]
