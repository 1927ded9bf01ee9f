"""Properties proved here.

1. Labels are spread apart: gaps hold, order is kept, nothing moves that need not.
2. Names of lines stand at their right ends, in their colours, and do not overlap; a lead goes to
   the end of its line.
3. A panel has the size and the margins it was asked for, in inches; its heading stands above it.
4. A line of a kind of network has its colour and markers, which are hollow where that is asked for.
5. A name stands above the panel at its place on the axis.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualview.pages.axes import kind_line, label_ends, name_above, panel, panel_heading, spread
from dualview.pages.style import KIND_STYLES, LIGHT


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=8),
    st.floats(0.01, 0.1),
)
def test_spread(heights, gap):
    placed = spread(heights, gap)
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    assert all(placed[upper] - placed[lower] >= gap - 1e-9 for lower, upper in pairwise(order))
    assert min(placed) >= -1e-9
    assert max(placed) <= 1 + 1e-9
    if all(abs(a - b) > gap for i, a in enumerate(heights) for b in heights[:i]):
        np.testing.assert_allclose(placed, heights)


@pytest.mark.parametrize("lead", [False, True])
def test_names_at_the_ends_of_lines(lead):
    figure, axes = panel(4.0, 3.0, left=0.6, right=1.0, bottom=0.4, top=0.4)
    ends = [(3.0, height) for height in (0.0, 1.0, 1.001, 2.0)]
    for x, height in ends:
        axes.plot([0, x], [0, height])
    names, colours = list("abcd"), ["#111111", "#222222", "#333333", "#444444"]
    label_ends(axes, names, ends, colours, lead=lead)
    boxes = [text.get_window_extent(figure._get_renderer()) for text in axes.texts]
    assert [(text.get_text(), text.get_color()) for text in axes.texts] == list(
        zip(names, colours, strict=True)
    )
    assert all(text.xy == end for text, end in zip(axes.texts, ends, strict=True))
    assert [text.arrow_patch is not None for text in axes.texts] == [lead] * 4
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))
    top = axes.transData.transform(ends[-1])[1]
    assert boxes[-1].y0 < top < boxes[-1].y1


@pytest.mark.parametrize(("width", "height"), [(5.0, 3.0), (2.5, 4.0)])
def test_panel(width, height):
    figure, axes = panel(width, height, left=0.5, right=0.25, bottom=0.4, top=0.3)
    box = axes.get_position()
    assert tuple(figure.get_size_inches()) == (width, height)
    assert box.x0 * width == pytest.approx(0.5)
    assert (1 - box.x1) * width == pytest.approx(0.25)
    assert box.y0 * height == pytest.approx(0.4)
    assert (1 - box.y1) * height == pytest.approx(0.3)
    assert figure.axes == [axes]


@pytest.mark.parametrize("kind", KIND_STYLES)
@pytest.mark.parametrize("hollow", [False, True])
def test_line_of_a_kind(kind, hollow):
    _, axes = panel(4.0, 3.0, left=0.6, right=0.2, bottom=0.4, top=0.5)
    line = kind_line(axes, kind, [0, 1], [2, 3], hollow=hollow, ls="none", ms=5)
    style = KIND_STYLES[kind]
    assert axes.lines[0] is line
    assert (line.get_color(), line.get_marker()) == (style.light, style.marker)
    assert line.get_markerfacecolor() == (LIGHT["page"] if hollow else style.light)
    assert (line.get_linestyle(), line.get_markersize()) == ("None", 5)


def test_name_above():
    figure, axes = panel(4.0, 3.0, left=0.6, right=0.2, bottom=0.4, top=0.5)
    axes.set_xlim(0, 4)
    name_above(axes, 1.0, "here", 5, ha="center", color="#111111")
    (text,) = axes.texts
    figure.canvas.draw()
    box, panel_box = text.get_window_extent(), axes.bbox
    assert (text.get_text(), text.get_color()) == ("here", "#111111")
    assert (box.x0 + box.x1) / 2 == pytest.approx(panel_box.x0 + panel_box.width / 4, abs=1)
    assert panel_box.y1 < box.y0 < panel_box.y1 + 10 * figure.dpi / 72


def test_heading():
    figure, axes = panel(4.0, 3.0, left=0.6, right=0.2, bottom=0.4, top=0.5)
    panel_heading(axes, "what is measured")
    (text,) = axes.texts
    figure.canvas.draw()
    assert text.get_text() == "what is measured"
    assert text.get_window_extent().y0 > axes.get_window_extent().y1
