"""Properties proved here.

1. Grids hold one tile a filter, row by row, of its own pixels: 0 is white or grey, the largest
   entry is the end of the scale, by filter or shared; every tile has its title.
2. Tiles, titles, key and note lie inside the figure and on nothing else, for few tiles and many.
3. Spectra are centred at frequency 0, on a scale of four decades.
4. Curves are the medians, bands the quartiles, of power relative to each filter's mean; filters
   without power are left out; names do not overlap.
5. The user's settings of matplotlib change nothing.
6. Other shapes, values that are not finite and titles that do not fit are refused.
"""

import itertools

import matplotlib
import numpy as np
import pytest

from dualview.errors import RunError
from dualview.pages.style import figure_svg
from dualview.primal.figures.filters import (
    DIVERGING,
    SpectrumCurve,
    filter_grid,
    spectrum_curves,
    spectrum_grid,
)

RANDOM = np.random.default_rng(0)


def tiles(figure):
    return [axes for axes in figure.axes if axes.get_label() != "key"]


def pixels(axes):
    (image,) = axes.images
    return np.asarray(image.get_array())


# Grids


@pytest.mark.parametrize("shared", [False, True])
def test_one_channel(shared):
    filters = RANDOM.normal(size=(7, 1, 4, 5)) * np.arange(1, 8)[:, None, None, None]
    figure = filter_grid(filters, columns=3, shared_scale=shared)
    assert len(tiles(figure)) == 7
    for axes, image in zip(tiles(figure), filters[:, 0], strict=True):
        scale = np.abs(filters if shared else image).max()
        np.testing.assert_allclose(pixels(axes), image / scale)
        assert axes.images[0].get_cmap().name == DIVERGING
        assert axes.images[0].get_clim() == (-1, 1)


def test_the_shared_scale_is_named():
    filters = np.zeros((2, 1, 3, 3))
    filters[1, 0, 1, 1] = -0.25
    texts = [text.get_text() for text in filter_grid(filters, shared_scale=True).texts]
    assert "red end: 0.25; blue end: minus it" in texts


def test_three_channels():
    filters = RANDOM.normal(size=(2, 3, 4, 5))
    filters[0, :, 0, 0] = 0
    first = pixels(filter_grid(filters).axes[0])
    assert first.shape == (4, 5, 3)
    np.testing.assert_allclose(first[0, 0], 0.5)
    np.testing.assert_allclose(
        (first - 0.5) * 2, (filters[0] / np.abs(filters[0]).max()).transpose(1, 2, 0)
    )


def test_filters_of_nothing_are_the_ground():
    np.testing.assert_array_equal(pixels(filter_grid(np.zeros((1, 3, 2, 2))).axes[0]), 0.5)
    np.testing.assert_array_equal(pixels(filter_grid(np.zeros((1, 1, 2, 2))).axes[0]), 0)


def test_row_by_row():
    boxes = [axes.get_position() for axes in tiles(filter_grid(np.ones((5, 1, 3, 3)), columns=2))]
    assert boxes[0].y0 == boxes[1].y0 > boxes[2].y0 == boxes[3].y0 > boxes[4].y0
    assert boxes[0].x0 == boxes[2].x0 == boxes[4].x0 < boxes[1].x0 == boxes[3].x0


def overlap(a, b):
    return a.x0 < b.x1 - 0.5 and b.x0 < a.x1 - 0.5 and a.y0 < b.y1 - 0.5 and b.y0 < a.y1 - 0.5


FIGURES = {
    "one": lambda: filter_grid(np.ones((1, 1, 3, 3)), ["channel 100"]),
    "two in colour": lambda: filter_grid(np.ones((2, 3, 3, 3)), ["a", "b"]),
    "many": lambda: filter_grid(np.ones((20, 1, 9, 9)), [f"channel {i}" for i in range(20)]),
    "wide": lambda: filter_grid(np.ones((5, 3, 4, 9)), [f"channel {i}" for i in range(5)]),
    "spectra": lambda: spectrum_grid(np.ones((3, 8, 8)), ["a", "b", "c"]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps(name):
    figure = FIGURES[name]()
    renderer = figure._get_renderer()
    texts = [*figure.texts, *(axes.title for axes in figure.axes if axes.get_title())]
    boxes = [axes.get_window_extent(renderer) for axes in figure.axes]
    boxes += [text.get_window_extent(renderer) for text in texts]
    for place, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
        assert not any(overlap(box, other) for other in boxes[:place])


def test_titles():
    figure = filter_grid(np.ones((2, 1, 3, 3)), ["first", "second"])
    assert [axes.get_title() for axes in tiles(figure)] == ["first", "second"]


# Spectra


def test_spectra_are_centred_and_in_decades():
    power = np.zeros((1, 4, 5))
    power[0, 0, 0], power[0, 0, 1], power[0, 1, 0] = 100, 1, 1e-9
    image = pixels(spectrum_grid(power).axes[0])
    assert image[2, 2] == 0
    np.testing.assert_allclose(image[2, 3], -2)
    assert image[3, 2] == image.min() == -4


def curve(n=9, label="layer 1", scale=1.0):
    power = RANDOM.uniform(0.5, 2, size=(n, 6)) * scale
    return SpectrumCurve(label, np.linspace(0, 0.7, 6), power)


def test_curves_are_medians():
    curves = [curve(), curve(label="layer 2", scale=1e6)]
    (axes,) = spectrum_curves(curves).axes
    assert axes.get_yscale() == "log"
    for record, line in zip(curves, axes.lines, strict=True):
        relative = record.power / record.power.mean(1, keepdims=True)
        np.testing.assert_allclose(line.get_xdata(), record.frequencies)
        np.testing.assert_allclose(line.get_ydata(), np.median(relative, axis=0))
        assert line.get_label() == record.label
    low, high = np.quantile(
        curves[0].power / curves[0].power.mean(1, keepdims=True), (0.25, 0.75), axis=0
    )
    outline = axes.collections[0].get_paths()[0].vertices
    for frequency, a, b in zip(curves[0].frequencies, low, high, strict=True):
        heights = outline[np.isclose(outline[:, 0], frequency), 1]
        np.testing.assert_allclose([heights.min(), heights.max()], [a, b])


def test_filters_without_power_are_left_out():
    record = curve()
    dead = SpectrumCurve(record.label, record.frequencies, np.vstack([record.power, np.zeros(6)]))
    one, other = (spectrum_curves([c]).axes[0].lines[0].get_ydata() for c in (record, dead))
    np.testing.assert_array_equal(one, other)


def test_curves_are_told_apart_without_colour():
    lines = spectrum_curves([curve(label=f"layer {i}") for i in range(4)]).axes[0].lines
    assert len({str(line._dash_pattern) for line in lines}) == 4
    assert len({line.get_color() for line in lines}) == 4


def test_names_do_not_overlap():
    figure = spectrum_curves([curve(label=f"layer {i}") for i in range(6)])
    (axes,) = figure.axes
    texts = [text for text in axes.texts if text.get_text().startswith("layer")]
    assert len(texts) == 6
    boxes = sorted(
        (text.get_window_extent(figure._get_renderer()) for text in texts), key=lambda b: b.y0
    )
    for low, high in itertools.pairwise(boxes):
        assert low.y1 <= high.y0 + 1
    assert all(box.x1 <= figure.bbox.width for box in boxes)


# Surroundings


@pytest.mark.parametrize("name", FIGURES)
def test_drawn_as_svg_whatever_the_users_settings(name):
    expected = figure_svg(FIGURES[name](), "filters", "A label")
    with matplotlib.rc_context({"font.size": 30, "image.cmap": "hot"}):
        assert figure_svg(FIGURES[name](), "filters", "A label") == expected
    assert "data:image/png;base64" in expected


# Refusals


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda: filter_grid(np.ones((2, 2, 3, 3))),
            r"expected shape \(n, 1 or 3, rows, columns\)",
        ),
        (lambda: filter_grid(np.ones((2, 3, 3))), "expected shape"),
        (lambda: filter_grid(np.ones((0, 3, 3, 3))), "expected shape"),
        (lambda: filter_grid(np.full((1, 1, 2, 2), np.nan)), "finite values"),
        (lambda: filter_grid(np.ones((2, 1, 2, 2)), ["a"]), "one for each of 2 filters, got 1"),
        (
            lambda: filter_grid(np.ones((2, 1, 2, 2)), columns=0),
            "columns: expected a whole number from 1 on",
        ),
        (lambda: spectrum_grid(-np.ones((1, 2, 2))), "no negative values"),
        (lambda: spectrum_grid(np.ones((1, 3, 2, 2))), "expected shape"),
        (lambda: spectrum_curves([]), "at least one spectrum"),
        (
            lambda: spectrum_curves([SpectrumCurve("a", np.ones(3), np.ones((2, 4)))]),
            r"a: .*\(n, 3\)",
        ),
        (lambda: spectrum_curves([SpectrumCurve("a", np.ones(2), -np.ones((2, 2)))]), "negative"),
        (lambda: spectrum_curves([SpectrumCurve("a", np.ones(2), np.zeros((2, 2)))]), "above 0"),
        (
            lambda: spectrum_curves([SpectrumCurve("a", np.ones(2), np.full((2, 2), np.inf))]),
            "finite",
        ),
    ],
)
def test_refusals(draw, message):
    with pytest.raises(RunError, match=message):
        draw()
