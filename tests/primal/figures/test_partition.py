"""The figure of a plane that gates cut.

1. Areas are the decisions, in the colours of their outputs; lines are the gates', in those of their
   layers; examples are where they are, under their names, whatever stands in these.
2. The key names every decision and layer that there is, and no other.
3. What is no partition, and names that are missing, are refused; the figure becomes SVG.
"""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_hex

from dualview.errors import RunError
from dualview.pages.style import figure_svg
from dualview.primal.figures.filters import line_colour
from dualview.primal.figures.partition import TINTS, partition_map
from dualview.primal.partition import PartitionSlice


@pytest.fixture(scope="module")
def found():
    """Two rectangles on either side of s = 1, decided 0 and 12."""
    left, right = (np.array([[s, 0.0], [s + 1, 0.0], [s + 1, 2.0], [s, 2.0]]) for s in (0.0, 1.0))
    return PartitionSlice(
        lines=np.array([[1.0, 0.0, -1.0], [1.0, 2.0, -2.0]]),
        line_gates=np.array([[0, 3], [2, 1]]),
        cells=(left, right),
        cell_gates=np.array([[False, False], [True, True]]),
        decisions=(left, right),
        classes=np.array([0, 12]),
        decision_cells=np.array([0, 1]),
        examples=np.array([[0.2, 0.1], [1.5, 0.1], [0.3, 1.7]]),
        predicted=np.array([0, 12, 0]),
        window=(0.0, 2.0, 0.0, 2.0),
    )


def test_what_is_drawn(found):
    (axes,) = partition_map(found).axes
    areas, lines = axes.collections
    assert [to_hex(colour) for colour in areas.get_facecolors()] == [TINTS[0], TINTS[2]]
    assert [len(path.vertices) for path in areas.get_paths()] == [5, 5]
    ends = [path.vertices.tolist() for path in lines.get_paths()]
    assert ends == [[[1, 0], [1, 2]], [[0, 1], [2, 0]]]
    colours = [to_hex(colour, keep_alpha=False) for colour in lines.get_colors()]
    assert colours == [line_colour(0, 2), line_colour(1, 2)]
    places = [line.get_xydata()[0].tolist() for line in axes.lines]
    assert places == found.examples.tolist()
    assert axes.get_xlim() == (0, 2)


def test_key_and_names(found):
    names = [f"${k}$" for k in range(13)]
    figure = partition_map(found, names, ("<one>", "two", "three"))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["decided:", "$0$", "$12$", "gates of:", "layer 0", "layer 2"]
    svg = figure_svg(figure, "a", "x")
    shown = {element.text for element in ElementTree.fromstring(svg).iter() if element.text}
    assert {"$12$", "<one>", "two", "three"} <= shown
    plain = [text.get_text() for text in partition_map(found).legends[0].get_texts()]
    assert plain[1:3] == ["output 0", "output 12"]


def test_refused(found):
    with pytest.raises(RunError, match="a PartitionSlice"):
        partition_map("found")
    with pytest.raises(RunError, match="names: expected at least 13, got 2"):
        partition_map(found, ["a", "b"])
    with pytest.raises(RunError, match="example_names: expected three, got 1"):
        partition_map(found, example_names=["a"])
