"""A figure for each network that was tried: two panels, a line and a band for each method."""

from dualview.experiments.explanations.figures import STYLES, figures
from dualview.experiments.explanations.tables import METHODS
from tests.experiments.explanations.test_tables import FOUND
from tests.record_cases import diverged, run_record


def test_what_is_drawn():
    records = [
        run_record("dlgn", measurements=FOUND),
        run_record("dlgn", 1, measurements=FOUND),
        diverged(run_record("dnn")),
    ]
    drawn = figures(records)
    assert list(drawn) == ["fc-dlgn-curves"]
    for axes, name in zip(drawn["fc-dlgn-curves"].axes, ("deletion", "insertion"), strict=True):
        assert [line.get_label() for line in axes.lines] == ["path contributions", "random"]
        assert [list(line.get_ydata()) for line in axes.lines] == FOUND[f"{name}_curve"]
        assert list(axes.lines[0].get_xdata()) == [0, 50, 100]
        assert len(axes.collections) == 2


def test_every_method_has_a_style_and_a_name():
    from dualview.path_attribution.faithfulness.methods import DEEP_LIFT, NAMES

    assert set(STYLES) == set(METHODS) == {*NAMES, DEEP_LIFT}
