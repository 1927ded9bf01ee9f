"""The edges of one node, against index arithmetic written out here.

- Layers: every (entry, weight, source) of a dense layer and of convolutions with stride, padding,
  dilation and groups is listed once, with coefficient 1; so is every bias, from the constant 1.
- Average pools and batch norm: the coefficients are 1 / size and gamma / sqrt(variance + eps).
- A gate keeps each entry's place.
- What is no sum of weight x entry is refused, and named.
"""

import itertools

import pytest
import torch
from torch import fx, nn

from dualview.conversion.gates import apply_gate
from dualview.errors import UnsupportedOperationError
from dualview.path_enumeration.edges import Edge, Entry, GateUnit, Weight, coordinates_of
from dualview.path_enumeration.node_edges import edges_of_node
from dualview.path_enumeration.random_run import random_run


class _Net(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


def _edges(layer, shape):
    """Of the node that calls the layer, on one example of that shape."""
    own = fx.symbolic_trace(_Net(layer).double().eval())
    with torch.no_grad():
        values = random_run(own, {"x": torch.zeros(1, *shape, dtype=torch.float64)}, {})
        (node,) = values.data
        return edges_of_node(node, values)


def _exact(terms):
    return sorted((e.source, round(e.coefficient, 12), e.weight, e.gate) for e in terms)


def test_dense():
    edges = _edges(nn.Linear(3, 2), (3,))
    for unit, terms in enumerate(edges):
        sources = [(Entry("x", k), 1.0, Weight("layer.weight", (unit, k)), None) for k in range(3)]
        found = [tuple(edge) for edge in terms if edge.source is not None]
        assert sorted(found) == sources
        (bias,) = [edge for edge in terms if edge.source is None]
        assert bias == Edge(None, 1.0, Weight("layer.bias", (unit,)))


CONVOLUTIONS = [
    {"stride": 2, "padding": 1},
    {"dilation": 2, "padding": 2},
    {"groups": 2, "padding": (1, 0), "stride": (1, 2)},
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_convolution(options):
    layer, (rows, columns) = nn.Conv2d(4, 2, (3, 2), bias=False, **options), (5, 4)
    edges = _edges(layer, (4, rows, columns))
    (sy, sx), (py, px), (dy, dx) = layer.stride, layer.padding, layer.dilation
    per_group = 4 // layer.groups
    shape = layer(torch.zeros(1, 4, rows, columns).double()).shape[1:]
    assert len(edges) == shape.numel()
    for position, terms in enumerate(edges):
        o, y, x = coordinates_of(position, shape)
        expected = []
        for c, ky, kx in itertools.product(range(per_group), range(3), range(2)):
            row, column = y * sy - py + ky * dy, x * sx - px + kx * dx
            if 0 <= row < rows and 0 <= column < columns:
                channel = (o * layer.groups // 2) * per_group + c
                source = (channel * rows + row) * columns + column
                weight = Weight("layer.weight", (o, c, ky, kx))
                expected.append((Entry("x", source), 1.0, weight, None))
        assert sorted(map(tuple, terms)) == sorted(expected)


def test_average_pool():
    for position, terms in enumerate(_edges(nn.AvgPool2d(2), (1, 4, 4))):
        y, x = divmod(position, 2)
        sources = [4 * (2 * y + i) + 2 * x + j for i in (0, 1) for j in (0, 1)]
        assert _exact(terms) == [(Entry("x", s), 0.25, None, None) for s in sources]


def test_batch_norm():
    norm = nn.BatchNorm1d(2)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([2.0, -3.0]))
        norm.running_var.copy_(torch.tensor([4.0, 0.25]))
    for unit, terms in enumerate(_edges(norm, (2,))):
        (edge,) = [edge for edge in terms if edge.source is not None]
        scale = norm.weight[unit].double() / (norm.running_var[unit].double() + norm.eps).sqrt()
        assert edge.source == Entry("x", unit)
        assert edge.coefficient == pytest.approx(scale.item(), abs=1e-12)


def test_gate():
    graph = fx.Graph()
    x, gate = graph.placeholder("x"), graph.placeholder("gate_1")
    graph.output(graph.call_function(apply_gate, (x, gate)))
    own = fx.GraphModule(nn.Module(), graph)
    zeros = {name: torch.zeros(1, 2, 3, dtype=torch.float64) for name in ("x", "gate_1")}
    with torch.no_grad():
        values = random_run(own, zeros, {})
        (node,) = values.data
        edges = edges_of_node(node, values)
    for position, terms in enumerate(edges):
        unit = GateUnit("gate_1", divmod(position, 3))
        assert terms == [Edge(Entry("x", position), gate=unit)]


def test_what_is_no_sum_is_refused():
    with pytest.raises(UnsupportedOperationError, match="layer"):
        _edges(nn.Softmax(1), (3,))
