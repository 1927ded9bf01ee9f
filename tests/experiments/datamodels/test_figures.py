"""One figure an architecture: a point with its error for each attribution."""

from dualview.experiments.datamodels.figures import figures
from dualview.experiments.datamodels.tables import ATTRIBUTIONS
from tests.experiments.datamodels.test_tables import FOUND
from tests.record_cases import run_record


def test_what_is_drawn():
    drawn = figures([run_record("dlgn", seed, measurements=FOUND) for seed in (0, 1)])
    assert list(drawn) == ["fc-scores"]
    (axes,) = drawn["fc-scores"].axes
    points = {line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1}
    assert {0.5, -0.25} <= points
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [
        ATTRIBUTIONS["same class"],
        ATTRIBUTIONS["kernel machine"],
    ]  # the first on top


def test_nothing_to_draw():
    assert figures([run_record("dlgn", measurements={"margins": [1.0]})]) == {}
