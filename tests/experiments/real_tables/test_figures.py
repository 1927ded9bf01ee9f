"""A line for each table from the least to the most accurate of the others; the DLGN, its tree."""

from dualview.experiments.real_tables.figures import figures
from tests.experiments.real_tables.test_tables import tried


def test_what_is_drawn():
    runs = [tried("b", 0.9, 0.89, 0.9, 0.8), tried("a", 0.7, 0.6, 0.8, 0.9)]
    (axes,) = figures(runs)["tables"].axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]
    drawn = [list(line.get_xdata()) for line in axes.lines[:3]]
    assert [[round(value, 6) for value in line] for line in drawn] == [[80, 90], [60], [70]]
    assert figures([]) == {}
