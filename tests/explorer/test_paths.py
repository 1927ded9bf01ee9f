"""Paths as stops in columns.

- The product of all that stands at the stops, and of the constants, is the path's contribution; for
  dense, convolutional, strided and residual networks, paths from the input and from biases.
- Groups stop at the channels of their gates, in their columns, between the input and the output.
- Columns grow along a path: the input is 0, the output the last; a gated unit stands in its
  layer's column, a bias half a column before its unit.
"""

import itertools
import math

import pytest

from dualview.explorer.paths import group_stops, path_stops, round_digits

from .explanations.cases import SHAPES, explained


def paths(shape):
    found = explained(shape, n_train=0)
    n_layers = len(found.layers)
    for example, name in itertools.product(found.examples, ("from_input", "from_anywhere")):
        for output in example.outputs:
            for path in getattr(output, name).paths:
                yield path, path_stops(path, n_layers), n_layers


@pytest.mark.parametrize("shape", SHAPES)
def test_product(shape):
    for path, stops, _ in paths(shape):
        factors = [f for stop in stops for f in stop[2:] if f is not None]
        product = math.prod(factors) * path.coefficient
        assert product == pytest.approx(path.contribution, rel=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_columns(shape):
    for path, stops, n_layers in paths(shape):
        columns = [stop[0] for stop in stops]
        assert all(a < b for a, b in itertools.pairwise(columns))
        assert columns[-1] == n_layers + 1
        assert stops[-1][1][0] == path.nodes[-1].channel
        if path.start.kind == "input":
            assert columns[0] == 0
        else:
            assert columns[0] == columns[1] - 0.5
        gates = {int(node.layer.rpartition("_")[2]): node for node in path.gated_units}
        for column, unit, _, gate in stops[1:-1]:
            if column in gates:
                assert unit == [gates[column].channel, *gates[column].position]
                assert gate == round_digits(gates[column].factor)
        assert set(gates) <= set(columns)


@pytest.mark.parametrize("shape", SHAPES)
def test_groups(shape):
    found = explained(shape, n_train=0)
    last = len(found.layers) + 1
    for output in found.examples[0].outputs:
        for group in output.groups.groups:
            stops = group_stops(group, len(found.layers))
            columns = [column for column, _ in stops]
            assert all(a < b for a, b in itertools.pairwise(columns))
            assert stops[0] == [0, group.nodes[0].channel]
            assert stops[-1] == [last, None]
            gates = [[int(n.layer[5:]), n.channel] for n in group.nodes if n.kind == "gate"]
            assert [stop for stop in stops if stop[0] in range(1, last)] == gates


def test_every_beginning_occurs():
    starts = {path.start.kind for path, *_ in paths("dense")}
    assert starts == {"input", "bias"}
