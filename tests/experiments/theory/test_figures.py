"""Properties proved here.

1. Lines are the records' root mean squares in percent, in their kind's colour, with a bar from a
   tenth of the draws to nine tenths at every point.
2. Guides fall with slope -1/2, at the mean height of their lines where those are fitted.
3. Every line is named with its slope; names do not overlap.
4. Bars of two lines stand beside one another.
5. No curves, and errors that a logarithmic scale cannot show, are refused.
"""

from dataclasses import replace

import numpy as np
import pytest

from dualview.errors import RunError
from dualview.experiments.theory.figures import error_curves
from dualview.pages.style import figure_svg, kind_style
from tests.experiments.theory.cases import curve

CURVES = (curve(), curve("other", kind="dgn", factor=0.9))


def _lines(figure):
    (axes,) = figure.axes
    return axes.lines


def test_lines_are_the_records():
    named = {line.get_label(): line for line in _lines(error_curves(CURVES, "width"))}
    for record in CURVES:
        line = named[record.label]
        assert list(line.get_xdata()) == [p.size for p in record.points]
        np.testing.assert_allclose(line.get_ydata(), [100 * p.error_rms for p in record.points])
        assert line.get_color() == kind_style(record.kind).light


def test_guides():
    guides = [line for line in _lines(error_curves(CURVES, "width")) if line.get_linestyle() == ":"]
    assert len(guides) == len(CURVES)
    for guide, record in zip(guides, CURVES, strict=True):
        x, y = (np.log(np.asarray(data, float)) for data in (guide.get_xdata(), guide.get_ydata()))
        np.testing.assert_allclose(np.diff(y) / np.diff(x), -0.5)
        fitted = [p for p in record.points if p.size >= record.fit_from]
        assert y[1:].mean() == pytest.approx(np.log([100 * p.error_rms for p in fitted]).mean())


def test_bars():
    record = curve()
    bars = [line for line in _lines(error_curves([record], "width")) if len(line.get_xdata()) == 2]
    assert len(bars) == len(record.points)
    for bar, point in zip(bars, record.points, strict=True):
        np.testing.assert_allclose(bar.get_xdata(), [point.size] * 2)
        assert list(bar.get_ydata()) == [100 * point.error_low, 100 * point.error_high]


@pytest.mark.parametrize("factor", [0.2, 0.9, 1.0])
def test_names_do_not_overlap(factor):
    figure = error_curves((curve(), curve("other", kind="dgn", factor=factor)), "width")
    (axes,) = figure.axes
    texts = [text for text in axes.texts if "slope" in text.get_text()]
    assert [text.get_text() for text in texts] == [
        "label dense\nslope −0.50",
        "label other\nslope −0.50",
    ]
    boxes = sorted(
        (text.get_window_extent(figure._get_renderer()) for text in texts), key=lambda b: b.y0
    )
    assert boxes[0].y1 <= boxes[1].y0 + 1
    assert all(box.x1 <= figure.bbox.width for box in boxes)


def test_drawn_as_svg():
    svg = figure_svg(error_curves(CURVES, "width of the network"), "theory", "A label")
    assert "width of the network" in svg
    assert "var(--kind-dlgn" in svg


@pytest.mark.parametrize(
    "curves",
    [(), (replace(curve(), points=(replace(curve().points[0], error_rms=0.0),)),)],
    ids=["none", "zero"],
)
def test_refusals(curves):
    with pytest.raises(RunError, match="expected curves of positive errors to draw against width"):
        error_curves(curves, "width")
