"""Properties proved here.

1. Each figure's thick lines are the means of the measurements, thin lines the seeds.
2. Diverged runs and infinite values are left out; without any value there is no figure, and asking
   for it is refused.
3. Every figure has a caption, and can be written as SVG.
"""

import pytest

from dualview.errors import RunError
from dualview.experiments.alignment import figures as alignment_plots
from dualview.pages.style import figure_svg, kind_style
from tests.record_cases import diverged, run_record


def _record(kind="dnn", seed=0, complexity=(40.0, 10.0)):
    taken = {"epoch": [0, 2], "complexity": list(complexity), "alignment": [0.25, 0.5]}
    return run_record(kind, seed, experiment="alignment", measurements=taken)


def _lines(figure, kind):
    colour = kind_style(kind).light
    return [
        line.get_xydata().tolist() for line in figure.axes[0].lines if line.get_color() == colour
    ]


def test_lines():
    records = [_record(), _record(seed=1, complexity=(60.0, 20.0)), _record("dlgn")]
    figure = alignment_plots.over_training(records, "complexity")
    assert _lines(figure, "dnn") == [
        [[0, 40], [2, 10]],
        [[0, 60], [2, 20]],
        [[0, 50], [2, 15]],
    ]
    assert _lines(figure, "dlgn") == [[[0, 40], [2, 10]]]
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["DNN", "DLGN"]


def test_what_is_left_out():
    records = [_record(complexity=(40.0, None)), diverged(_record("dlgn"))]
    figures = alignment_plots.figures(records)
    assert _lines(figures["labels-complexity"], "dnn") == [[[0, 40]]]
    assert _lines(figures["labels-complexity"], "dlgn") == []
    infinite = [_record(complexity=(None, None))]
    assert list(alignment_plots.figures(infinite)) == ["labels-alignment"]
    for records, name in ((infinite, "complexity"), (infinite, "rank"), ([], "alignment")):
        with pytest.raises(RunError, match="run the experiment alignment"):
            alignment_plots.over_training(records, name)


def test_captions_and_svg():
    figures = alignment_plots.figures([_record()])
    assert set(figures) == set(alignment_plots.CAPTIONS)
    for name, figure in figures.items():
        assert figure_svg(figure, name, name).startswith("<svg")
