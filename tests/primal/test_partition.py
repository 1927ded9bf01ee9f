"""A DLGN's arrangement of gates in the plane through three examples.

The oracle asks the network itself at points of the plane.

- Every point lies in a cell whose gates are the network's there, and in a polygon whose decision is
  the network's: of random networks, dense and convolutional, of every gate that is constant on
  either side of 0, with constant inputs and shuffled gates.
- Cells fill the window without a gap or an overlap, and so do decisions; there are as many cells as
  Euler's formula says of the lines and where they meet. Lines are the gates' zeros.
- The examples are where they should be, at their distances. Blocks change nothing.
- Other kinds, soft gates, examples on a line, several outputs and too many cells are refused.
"""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import dualview as dv
from dualview.errors import PrimalFilterError
from dualview.primal.partition import clipped
from tests.cases import enliven
from tests.random_networks import Features, random_networks

D = torch.float64


def area(polygon):
    x, y = polygon.T
    return (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def inside(polygon, place, slack=0.0):
    after = np.roll(polygon, -1, 0) - polygon
    to = place - polygon
    cross = after[:, 0] * to[:, 1] - after[:, 1] * to[:, 0]
    return bool((cross >= -slack * np.hypot(*after.T)).all())


def frame(a, b, c):
    """Gram and Schmidt, written out."""
    first = (b - a) / (b - a).norm()
    rest = (c - a) - ((c - a) * first).sum() * first
    return first, rest / rest.norm()


def check(net, examples, found, gates="model", points=150):
    a, b, c = examples
    first, second = frame(a, b, c)
    left, right, bottom, top = found.window
    full = (right - left) * (top - bottom)
    generator = np.random.default_rng(0)
    places = generator.uniform((left, bottom), (right, top), (points, 2))
    shape = (-1, *(1,) * (a.dim() - 1))
    s, t = (torch.from_numpy(places[:, k].copy()).view(shape) for k in (0, 1))
    x = a + s * first + t * second
    with torch.no_grad():
        q = [layer.flatten(1) for layer in net.preactivations(x)]
        own, switches = net.gates_and_switches(x, hard=gates == "hard")
        logits = net.weights_network(net.transformed(x), *own, *switches).expand(points, -1)
    for cells in (found.cells, found.decisions):
        assert sum(map(area, cells)) == pytest.approx(full, rel=1e-9)
        assert min(map(area, cells)) > 0
    margin = 1e-7 * max(right - left, top - bottom)
    for row, place in enumerate(places):
        homes = [k for k, cell in enumerate(found.cells) if inside(cell, place)]
        clear = [k for k in homes if inside(found.cells[k], place, -margin)]
        assert homes
        if not clear:
            continue
        assert len(homes) == 1
        for (layer, unit), on in zip(found.line_gates, found.cell_gates[homes[0]], strict=True):
            assert bool(q[layer][row, unit] > 0) == on
        decided = [k for k, part in enumerate(found.decisions) if inside(part, place)]
        assert decided
        top_two = logits[row].topk(min(2, logits.shape[1])).values
        if len(top_two) == 1 or top_two[0] - top_two[1] > 1e-7 * logits.abs().max():
            assert int(found.classes[decided[0]]) == int(logits[row].argmax())
            assert found.decision_cells[decided[0]] == homes[0]
    listed = {tuple(pair) for pair in found.line_gates.tolist()}
    for layer, values in enumerate(q):
        for unit in range(values.shape[1]):
            sides = values[:, unit] > 0
            if sides.any() and not sides.all():
                assert (layer, unit) in listed


def taken_apart(model, kind="dlgn", **options):
    return dv.disentangle(
        model, kind, **{"gate": "hard", "weights": "fresh", "seed": 0, **options}
    ).eval()


@settings(max_examples=15)
@given(random_networks(Features(channels=2, size=4, steps=3)), st.floats(0, 1))
def test_random_networks(model, margin):
    net = taken_apart(model)
    examples = torch.randn(3, *model.input_shape, dtype=D).split(1)
    assume(sum(q.numel() for q in net.preactivations(examples[0])) <= 40)
    check(net, examples, dv.partition_slice(net, *examples, margin=margin), points=40)


def dense(bias=True):
    layers = [nn.Linear(4, 7, bias), nn.ReLU(), nn.Linear(7, 7, bias), nn.ReLU()]
    return enliven(nn.Sequential(*layers, nn.Linear(7, 4, bias)).double())


X = torch.randn(3, 4, dtype=D, generator=torch.Generator().manual_seed(3)).split(1)


def meetings(found):
    """Points inside the window where two lines meet."""
    left, right, bottom, top = found.window
    count = 0
    for one, other in itertools.combinations(found.lines, 2):
        matrix = np.array([one[:2], other[:2]])
        if abs(np.linalg.det(matrix)) > 1e-12:
            s, t = np.linalg.solve(matrix, -np.array([one[2], other[2]]))
            count += left < s < right and bottom < t < top
    return count


def test_eulers_formula():
    found = dv.partition_slice(taken_apart(dense()), *X)
    assert len(found.lines) > 3
    assert len(found.cells) == 1 + len(found.lines) + meetings(found)
    assert len({tuple(row) for row in found.cell_gates.tolist()}) == len(found.cells)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("dlgn", {}),
        ("dlgn", {"weights_input": "ones"}),
        ("dlgn", {"gate_order": (1, 0)}),
        ("dlgn-sf", {}),
        ("dlgn", {"gate": dv.HardGate(), "input_transform": dv.InputTransform(0.2, 0.7)}),
    ],
)
def test_options(kind, options):
    net = taken_apart(dense(), kind, example_input=X[0], **options)
    found = dv.partition_slice(net, *X)
    check(net, X, found)


def test_leaky_gates():
    layers = [nn.Linear(4, 6), nn.LeakyReLU(0.2), nn.Linear(6, 6), nn.PReLU(), nn.Linear(6, 3)]
    net = taken_apart(enliven(nn.Sequential(*layers).double()), gate="own")
    check(net, X, dv.partition_slice(net, *X))


def test_soft_gates_as_hard_ones():
    net = taken_apart(dense(), gate="soft")
    with pytest.raises(PrimalFilterError, match=r"SoftGate.*partition_slice\(\.\.\., gates='hard'"):
        dv.partition_slice(net, *X)
    found = dv.partition_slice(net, *X, gates="hard")
    check(net, X, found, gates="hard")


def test_where_the_examples_are():
    found = dv.partition_slice(taken_apart(dense()), *X)
    for (i, one), (j, other) in itertools.combinations(enumerate(X), 2):
        got = np.linalg.norm(found.examples[i] - found.examples[j])
        assert got == pytest.approx(float((one - other).norm()))
    assert found.examples[0].tolist() == [0, 0]
    assert found.examples[1][1] == 0
    net = taken_apart(dense())
    assert found.predicted.tolist() == [int(net.logits(x).argmax()) for x in X]
    assert "lines cut the window into" in str(found)


def test_through_one_point():
    """Without biases all lines of a plane through the origin meet there."""
    net = taken_apart(dense(bias=False))
    x = torch.zeros(1, 4, dtype=D), X[1], X[2]
    found = dv.partition_slice(net, *x, margin=2)
    assert len(found.cells) == 2 * len(found.lines)
    check(net, x, found)


def test_blocks_change_nothing():
    net = taken_apart(dense())
    one, other = (dv.partition_slice(net, *X, memory=memory) for memory in (1, 1e9))
    assert len(one.cells) == len(other.cells)
    assert one.classes.tolist() == other.classes.tolist()


def test_examples_as_they_come():
    net = taken_apart(dense().float())
    flat = [x[0].float() for x in X]
    assert len(dv.partition_slice(net, *flat).cells) == len(dv.partition_slice(net, *X).cells)


def test_a_window_that_no_gate_cuts():
    net = taken_apart(dense())
    near = [X[0] + 1e-6 * torch.randn(1, 4, dtype=D) for _ in range(3)]
    found = dv.partition_slice(net, *near)
    assert (len(found.lines), len(found.cells), len(found.decisions)) == (0, 1, 1)
    assert found.cell_gates.shape == (1, 0)


class TwoOutputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 5)

    def forward(self, x):
        h = torch.relu(self.a(x))
        return h, h


def test_refused():
    net = taken_apart(dense())
    with pytest.raises(PrimalFilterError, match="one line"):
        dv.partition_slice(net, X[0], X[1], (X[0] + X[1]) / 2)
    with pytest.raises(PrimalFilterError, match="one line"):
        dv.partition_slice(net, X[0], X[0], X[1])
    with pytest.raises(PrimalFilterError, match="most: expected at most 3 cells"):
        dv.partition_slice(net, *X, most=3)
    with pytest.raises(PrimalFilterError, match=r"gate_crossings along a segment"):
        dv.partition_slice(taken_apart(dense(), "dgn"), *X)
    with pytest.raises(PrimalFilterError, match="c: expected examples that the network takes"):
        dv.partition_slice(net, X[0], X[1], torch.randn(1, 5))
    with pytest.raises(PrimalFilterError, match="output="):
        dv.partition_slice(taken_apart(TwoOutputs().double()), *X)


def test_clipping():
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    half = clipped(square, square[:, 0] - 0.25)
    assert area(half) == pytest.approx(0.75)
    assert len(clipped(square, np.full(4, -1.0))) == 0
    assert np.array_equal(clipped(square, np.ones(4)), square)
    corner = clipped(square, 1 - square.sum(1))  # along a diagonal
    assert area(corner) == pytest.approx(0.5)
