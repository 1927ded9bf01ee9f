"""A figure for each number of columns: angles by level, before and after training."""

from dualview.experiments.trees.figures import figures
from tests.experiments.trees.test_tables import learnt


def test_what_is_drawn():
    drawn = figures([learnt(0), learnt(0, columns=100)])
    assert list(drawn) == ["20-columns-gates", "100-columns-gates"]
    (axes,) = drawn["20-columns-gates"].axes
    assert [line.get_label() for line in axes.lines] == [
        f"{name}, {told}" for name in ("DLGN", "DLGN-SF") for told in ("untrained", "trained")
    ]
    assert list(axes.lines[1].get_ydata()) == [4, 9]
