"""Properties proved here.

1. There is a figure for each part that was run, each with a caption, and each can be written as
   SVG; diverged runs are left out.
2. Lines are means over the seeds of the last R2 by frequency, and of R2 over the epochs.
3. Accuracies stand at their band, a marker a seed.
4. Filter spectra are drawn relative to their mean, before and after training, a line a layer.
"""

import dataclasses

import pytest

from dualview.experiments.spectrum import figures as spectrum_plots
from dualview.pages.style import LIGHT, figure_svg, kind_style
from tests.experiments.spectrum.cases import all_records, function_record, image_record


def _lines(figure, colour):
    return [line for line in figure.axes[0].lines if line.get_color() == colour]


def _last_value(record):
    return [
        1 - mse / v
        for mse, v in zip(
            record.measurements["test_mse"][-1], record.measurements["variance"], strict=True
        )
    ]


def test_figures_and_captions():
    figures = spectrum_plots.figures(all_records())
    assert set(figures) == set(spectrum_plots.CAPTIONS)
    for name, figure in figures.items():
        assert figure_svg(figure, name, name).startswith("<svg")


def test_parts_that_were_run():
    functions = [record for record in all_records() if not record.curve]
    assert all(name.startswith("functions") for name in spectrum_plots.figures(functions))
    lost = [dataclasses.replace(record, status="diverged") for record in all_records()]
    assert spectrum_plots.figures(lost) == {}


def test_by_frequency():
    runs = [
        function_record("dnn", 0, scores=((0.0, 0.0), (0.0, 0.0), (0.9, 0.1))),
        function_record("dnn", 1, scores=((0.0, 0.0), (0.0, 0.0), (0.7, 0.3))),
    ]
    *seeds, mean = _lines(spectrum_plots.by_frequency(runs), kind_style("dnn").light)
    assert [list(line.get_ydata()) for line in seeds] == [
        pytest.approx(_last_value(run)) for run in runs
    ]
    assert list(mean.get_xdata()) == [1, 4]
    assert list(mean.get_ydata()) == pytest.approx([0.8, 0.2])


def test_over_epochs():
    runs = [
        function_record(seed=0, scores=((0.0, 0.0), (0.5, -9.0), (0.9, 0.1))),
        function_record(seed=1, scores=((0.0, 0.0), (0.7, 0.0), (0.7, 0.3))),
    ]
    figure = spectrum_plots.over_epochs(runs)
    first, second = _lines(figure, kind_style("dlgn").light)
    assert list(first.get_xdata()) == [1, 3]
    assert list(first.get_ydata()) == pytest.approx([0.6, 0.8])
    assert list(second.get_ydata()) == pytest.approx([-0.5, 0.2])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"k = 1", "k = 4"} <= set(texts)


def test_by_band():
    runs = [
        image_record(kind, seed, band, accuracy)
        for kind, accuracy in (("dnn", 0.9), ("dlgn", 0.8))
        for seed in range(2)
        for band in ("low", "high")
    ]
    figure = spectrum_plots.by_band(runs)
    ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert ticks == ["low-pass", "high-pass"]
    for kind, accuracy in (("dnn", 90.0), ("dlgn", 80.0)):
        lines = _lines(figure, kind_style(kind).light)
        markers = [line for line in lines if line.get_marker() not in ("None", "")]
        assert [list(line.get_ydata()) for line in markers] == [pytest.approx([accuracy] * 2)] * 2
        assert [round(line.get_xdata()[0]) for line in markers] == [0, 1]


def test_filter_spectra():
    figure = spectrum_plots.filter_spectra_figure([image_record(seed=0), image_record(seed=1)])
    after = _lines(figure, kind_style("dlgn").light)
    before = _lines(figure, LIGHT["muted"])
    assert len(after) == len(before) == 2
    assert list(after[0].get_ydata()) == pytest.approx([2.0, 1.0, 1.0, 0.5, 0.5])
    assert list(before[0].get_ydata()) == pytest.approx([1.0] * 5)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"layer 1", "layer 2"} <= set(texts)
