"""Properties proved here.

1. Path graphs hold one line a path, widest for the strongest, red and full where it adds, blue and
   dashed where it takes; it meets the columns that the path passes, and skips and biases are seen.
2. Each unit has one dot and one name; deep networks name some columns only.
3. Layer bars are the results' parts; the output is a line; several outputs are refused.
4. What cannot be drawn is refused; figures become SVG in the house colours.
"""

import itertools

import numpy as np
import pytest
import torch

from dualview.architectures import ResNet
from dualview.errors import RunError
from dualview.pages.style import figure_svg
from dualview.path_attribution.contributions import LayerContributions, layer_contributions
from dualview.path_attribution.figures import ADDS, BESIDE, TAKES, layer_bars, path_graph
from dualview.path_attribution.paths import TopPaths
from dualview.path_attribution.strongest_paths import top_paths
from tests.cases import enliven
from tests.path_enumeration.models import dense, gated


def _lines(figure):
    """Lines of several points: the paths, weakest first."""
    return [line for line in figure.axes[0].lines if len(line.get_xdata()) > 1]


@pytest.fixture(scope="module")
def top():
    torch.manual_seed(0)
    net = gated(dense(4, 5, 5, 3, bias=True), "dlgn")
    return top_paths(net, torch.randn(4, dtype=torch.float64), 1, 15)


def test_a_line_for_each_path(top):
    lines = _lines(path_graph(top))[::-1]
    assert len(lines) == len(top.paths) == 15
    widths = [line.get_linewidth() for line in lines]
    assert widths == sorted(widths, reverse=True)
    for line, path in zip(lines, top.paths, strict=True):
        assert line.get_color() == (ADDS if path.contribution > 0 else TAKES)
        assert (line.get_linestyle() == "-") == (path.contribution > 0)
        columns = list(line.get_xdata())
        begins = {"input": 0.0, "0": 0.5, "2": 1.5, "4": 2.5}[path.start.layer]
        assert columns == [begins, *(float(c) for c in range(1, 4) if c > begins)]


def test_paths_through_one_unit_meet_there(top):
    lines = _lines(path_graph(top))[::-1]
    for (line, path), (other, another) in itertools.combinations(
        zip(lines, top.paths, strict=True), 2
    ):
        for gate in ("gate_1", "gate_2"):
            mine = [n.channel for n in path.gated_units if n.layer == gate]
            yours = [n.channel for n in another.gated_units if n.layer == gate]
            if mine and yours:
                column = float(gate[-1])
                rows = [
                    dict(zip(*found.get_data(), strict=True))[column] for found in (line, other)
                ]
                assert (abs(rows[0] - rows[1]) <= 2 * BESIDE) == (mine == yours)


def test_every_unit_is_named_once(top):
    axes = path_graph(top).axes[0]
    dots = [line for line in axes.lines if len(line.get_xdata()) == 1]
    places = [(line.get_xdata()[0], line.get_ydata()[0]) for line in dots]
    assert len(set(places)) == len(places)
    units = {(n.layer, n.channel) for p in top.paths for n in p.gated_units}
    names = [text.get_text() for text in axes.texts]
    assert len([p for p in places if p[0] in (1, 2)]) == len(units)
    assert len(names) == len(places)
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "input",
        "gate 1",
        "gate 2",
        "4",
    ]


@pytest.mark.parametrize("blocks", [1, 5])
def test_skips_pass_columns_and_deep_networks_name_some(blocks):
    net = gated(enliven(ResNet(blocks, 2, (1, 8, 8), 2, False).double()), "dlgn")
    top = top_paths(net, torch.randn(1, 8, 8, dtype=torch.float64), 0, 12)
    figure = path_graph(top)
    for line, path in zip(_lines(figure)[::-1], top.paths, strict=True):
        gates = len(path.gated_units)
        assert len(line.get_xdata()) == gates + 2
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels[-1] == "fc"
    assert len(labels) <= 17
    assert figure.get_figwidth() <= 14


def test_no_paths_are_refused():
    with pytest.raises(RunError, match="at least one path"):
        path_graph(TopPaths(0, (), 0.0, 0.0, 5.0))


def _layers():
    torch.manual_seed(0)
    net = gated(enliven(ResNet(1, 2, (1, 4, 4), 2, False).double()), "dlgn")
    x = torch.randn(1, 4, 4, dtype=torch.float64)
    return [layer_contributions(net, x, 1, number) for number in range(net.n_gates)]


def test_layer_bars():
    layers = _layers()
    axes = layer_bars(layers).axes[0]
    for bars, part in zip(axes.containers, ("through", "skips", "biases"), strict=True):
        widths = [bar.get_width() for bar in bars]
        np.testing.assert_allclose(widths, [getattr(layer, part) for layer in layers])
    assert layers[0].total in [line.get_xdata()[0] for line in axes.lines]
    assert axes.get_yticklabels()[0].get_text() == "gate 1"
    other = LayerContributions(0, 0, "gate_1", np.zeros(2), 0.0, 0.0, 0.0)
    for wrong in ([], [layers[0], other]):
        with pytest.raises(RunError, match="one example and output"):
            layer_bars(wrong)


def test_figures_become_svg(top):
    svg = figure_svg(path_graph(top), "paths", "Strongest paths")
    assert "var(--kind-dgn" in svg
    assert "var(--kind-dlgn" in svg
    assert "adds to the output" in svg
