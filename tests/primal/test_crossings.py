"""Gates that switch on a segment.

The oracle samples the segment densely and asks the network itself at each point.

- Between any two samples each gate switches as often, modulo 2, as is listed; what is listed is a
  zero of that gate's pre-activation, with the sides that are told, in order. Of random networks
  with every piecewise-linear activation, max pools, skips and normalisation: DNN, DGN and DLGN.
- Logits between are the network's, straight on each piece, with jumps where a DGN or DLGN has them;
  of soft gates they are those at the ends of pieces, and no line is drawn.
- Through the origin of a network without biases, where all gates switch at once; along a segment
  that no gate cuts; of one point; small blocks and the order of the work change nothing.
- What is not piecewise linear, several inputs or outputs, wrong examples and too many pieces are
  refused.
"""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.errors import PrimalFilterError
from dualview.primal.regions import KINKS, STEPS
from tests.cases import enliven
from tests.random_networks import Features, random_networks

D = torch.float64
SAMPLES = 1000  # even, so that none lies on the middle
PIECEWISE = (
    "nn.ReLU()",
    "torch.nn.functional.relu",
    "nn.LeakyReLU(0.3)",
    "nn.PReLU()",
    "nn.ReLU6()",
)
KINDS = ("dnn", "dgn", "dlgn")


def taken_apart(model, kind, x, **options):
    if kind != "dnn":
        options = {"gate": "hard", "seed": 0, "weights": "fresh", **options}
    return dv.disentangle(model, kind, example_input=x, **options).eval()


def samples(net, a, b, n=SAMPLES):
    """Positions, which gates are on there (n, gates), and pre-activations."""
    t = torch.linspace(0, 1, n, dtype=D)
    x = a + t.view(-1, *(1,) * (a.dim() - 1)) * (b - a)
    q = torch.cat([layer.flatten(1) for layer in net.preactivations(x)], 1).detach()
    return t, x, q


def numbers(net, a):
    """(layer, unit) -> column of `samples`."""
    shapes = [tuple(layer.shape[1:]) for layer in net.preactivations(a)]
    units = [
        (layer, unit)
        for layer, shape in enumerate(shapes)
        for unit in itertools.product(*map(range, shape))
    ]
    return {unit: place for place, unit in enumerate(units)}


def check(net, a, b, found):
    """Against dense samples of the network itself."""
    t, x, q = samples(net, a, b)
    column = numbers(net, a)
    positions = [one.position for one in found.crossings]
    assert positions == sorted(positions)
    # A sample that lies on a crossing, to rounding, says nothing of its sides.
    scale = q.abs().amax(0).clamp(min=1e-300)
    clear = (q.abs() > 1e-9 * scale) | (q == 0)
    on = q > 0
    switched = torch.zeros(len(t) - 1, q.shape[1], dtype=torch.long)
    for one in found.crossings:
        place = min(max(int(torch.searchsorted(t, one.position)) - 1, 0), len(t) - 2)
        switched[place, column[one.layer, one.unit]] += 1
    usable = clear[1:] & clear[:-1]
    expected = (on[1:] != on[:-1]).long()
    assert bool(((switched % 2 == expected) | ~usable).all())
    at = torch.tensor(positions, dtype=D)
    if len(at):
        _, _, here = samples_at(net, a, b, at)
        _, _, after = samples_at(net, a, b, (at + 1e-7).clamp(max=1))
        slope_bound = (q[1:] - q[:-1]).abs().amax(0) * (len(t) - 1)
        for row, one in enumerate(found.crossings):
            unit = column[one.layer, one.unit]
            assert abs(here[row, unit]) <= 1e-9 * max(scale[unit], slope_bound[unit])
            apart = [abs(p - one.position) for p in positions if p != one.position]
            if min(apart, default=1) > 1e-6 and one.position < 1 - 1e-6:
                assert bool(after[row, unit] > 0) == one.on
    return t, x


def samples_at(net, a, b, t):
    x = a + t.view(-1, *(1,) * (a.dim() - 1)) * (b - a)
    q = torch.cat([layer.flatten(1) for layer in net.preactivations(x)], 1).detach()
    return t, x, q


def check_logits(net, found, t, x):
    far = (t.unsqueeze(1) - found.positions[1:-1]).abs()
    clear = torch.ones(len(t), dtype=torch.bool) if not far.shape[1] else far.amin(1) > 1e-7
    with torch.no_grad():
        expected = net.logits(x)
    got = found.logits(t)
    scale = expected.abs().max().clamp(min=1e-12)
    assert float((got - expected)[clear].abs().max()) <= 1e-8 * float(scale)


@settings(max_examples=40)
@given(random_networks(Features(activations=PIECEWISE)), st.sampled_from(KINDS))
def test_random_networks(model, kind):
    a, b = torch.randn(2, 1, *model.input_shape, dtype=D)
    net = taken_apart(model, kind, a)
    found = dv.gate_crossings(net, a, b)
    t, x = check(net, a, b, found)
    if found.linear:
        check_logits(net, found, t, x)


def dense(bias=True):
    return enliven(
        nn.Sequential(
            nn.Linear(4, 9, bias),
            nn.ReLU(),
            nn.Linear(9, 9, bias),
            nn.ReLU(),
            nn.Linear(9, 3, bias),
        ).double()
    )


def pooled():
    return enliven(
        nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.MaxPool2d(3, 2, 1), nn.ReLU(), nn.Conv2d(3, 3, 2),
            nn.PReLU(3), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(12, 2),
        ).double()
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [dense, pooled])
def test_logits_between(model, kind):
    shape = (4,) if model is dense else (1, 8, 8)
    a, b = torch.randn(2, 1, *shape, dtype=D) * 2
    net = taken_apart(model(), kind, a)
    found = dv.gate_crossings(net, a, b)
    assert found.crossings
    assert found.linear
    t, x = check(net, a, b, found)
    check_logits(net, found, t, x)
    jumps = (found.at_start[1:] - found.at_end[:-1]).abs().max()
    assert (jumps < 1e-9) == (kind == "dnn")
    assert found.length == pytest.approx(float((b - a).norm()))


def test_constant_input():
    a, b = torch.randn(2, 1, 4, dtype=D)
    net = taken_apart(dense(), "dlgn", a, weights_input="ones")
    found = dv.gate_crossings(net, a, b)
    assert torch.equal(found.at_start, found.at_end)
    t, x = check(net, a, b, found)
    check_logits(net, found, t, x)


def test_by_hand():
    """Two gates at 1/4 and 3/4, and one behind them that follows the first."""
    model = nn.Sequential(
        nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1)
    ).double()
    values = ([1.0, -1.0], [-0.25, 0.75], [1.0, -1.0], [0.0], [2.0], [1.0])
    for parameter, numbers_ in zip(model.parameters(), values, strict=True):
        parameter.data = torch.tensor(numbers_, dtype=D).view(parameter.shape)
    net = dv.disentangle(model, "dnn")
    found = dv.gate_crossings(net, torch.zeros(1, 1).double(), torch.ones(1, 1).double())
    # relu(t - 1/4) - relu(3/4 - t) is above 0 from t = 1/2 on.
    told = [(one.position, one.layer, one.unit, one.on) for one in found.crossings]
    assert told == [(0.25, 0, (0,), True), (0.5, 1, (0,), True), (0.75, 0, (1,), False)]
    torch.testing.assert_close(
        found.logits([0.1, 0.5, 0.6, 1.0])[:, 0],
        torch.tensor([1.0, 1.0, 1.4, 2.5], dtype=D),
        rtol=0,
        atol=1e-12,
    )
    assert "0.500000  gate 1[0] on" in str(found)


@pytest.mark.parametrize("kind", KINDS)
def test_through_the_origin(kind):
    a = torch.randn(1, 4, dtype=D)
    net = taken_apart(dense(bias=False), kind, a)
    found = dv.gate_crossings(net, a, -a)
    check(net, a, -a, found)
    assert {one.position for one in found.crossings} == {0.5}
    assert len(found.positions) == 3


def test_no_crossing_and_no_length():
    a = torch.randn(1, 4, dtype=D)
    net = taken_apart(dense(), "dnn", a)
    found = dv.gate_crossings(net, a, a + 1e-6)
    assert not found.crossings
    assert found.positions.tolist() == [0.0, 1.0]
    point = dv.gate_crossings(net, a, a)
    assert (point.crossings, point.length) == ((), 0.0)


def test_blocks_change_nothing():
    a, b = torch.randn(2, 1, 4, dtype=D) * 3
    net = taken_apart(dense(), "dgn", a)
    one, other = dv.gate_crossings(net, a, b), dv.gate_crossings(net, a, b, memory=1)
    told = [[(c.layer, c.unit, c.on) for c in found.crossings] for found in (one, other)]
    assert told[0] == told[1]
    torch.testing.assert_close(one.positions, other.positions, rtol=0, atol=1e-13)
    torch.testing.assert_close(one.at_start, other.at_start)


def test_back_is_forth():
    a, b = torch.randn(2, 1, 4, dtype=D) * 3
    net = taken_apart(dense(), "dnn", a)
    forth, back = dv.gate_crossings(net, a, b).crossings, dv.gate_crossings(net, b, a).crossings
    mirrored = sorted((1 - one.position, one.layer, one.unit, not one.on) for one in back)
    for one, (position, *rest) in zip(forth, mirrored, strict=True):
        assert one.position == pytest.approx(position, abs=1e-12)
        assert [one.layer, one.unit, one.on] == rest


def test_examples_as_they_come():
    a, b = torch.randn(2, 4)
    net = taken_apart(dense().float(), "dnn", a[None])
    assert (
        dv.gate_crossings(net, a, b).crossings == dv.gate_crossings(net, a[None], b[None]).crossings
    )


def test_an_input_transform():
    a, b = torch.randn(2, 1, 4, dtype=D)
    transform = dv.InputTransform(0.3, 0.5)
    net = taken_apart(dense(), "dnn", a, input_transform=transform)
    found = dv.gate_crossings(net, a, b)
    t, x = check(net, a, b, found)
    check_logits(net, found, t, x)


def test_soft_gates():
    a, b = torch.randn(2, 1, 4, dtype=D) * 2
    net = taken_apart(dense(), "dlgn", a, gate="soft")
    found = dv.gate_crossings(net, a, b)
    check(net, a, b, found)
    assert not found.linear
    ends = a + found.positions.view(-1, 1) * (b - a)
    with torch.no_grad():
        torch.testing.assert_close(found.at_start, net.logits(ends[:-1]))
        torch.testing.assert_close(found.at_end, net.logits(ends[1:]))
    with pytest.raises(PrimalFilterError, match="gates='hard'"):
        found.logits([0.5])
    hard = dv.gate_crossings(net, a, b, gates="hard")
    assert hard.linear
    assert hard.crossings == found.crossings


def test_the_tables():
    assert set(STEPS) < set(KINKS)
    for gate, kinks in KINKS.items():
        made = gate(nn.Parameter(torch.tensor([0.2]))) if "Param" in gate.__name__ else gate()
        q = torch.linspace(-9, 9, 3601, dtype=D)
        bends = (q * made(q)).diff().diff().abs() > 1e-9
        found = {round(float(value), 2) + 0.0 for value in q[1:-1][bends]}
        assert found == set(kinks)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 4)

    def forward(self, x, y):
        return torch.relu(self.a(x) + self.a(y))


class Excited(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 4)

    def forward(self, x):
        h = torch.relu(self.a(x))
        return h * torch.sigmoid(self.b(h))


class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Linear(3, 4), nn.LayerNorm(4)

    def forward(self, x):
        return torch.relu(self.norm(self.a(x)))


class TwoOutputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 4)

    def forward(self, x):
        h = torch.relu(self.a(x))
        return h, 2 * h


X = torch.randn(1, 3)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 4), nn.ReLU()), {}, "kind='dlgn'"),
        (TwoInputs(), {"example_input": (X, X)}, "one input, got 2"),
        (Excited(), {}, "multiplier"),
        (Centred(), {}, "multiplier"),
        (TwoOutputs(), {}, "output="),
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.ReLU(),
                       nn.Linear(4, 2), nn.ReLU()), {}, "statistics are those of the batch"),
    ],
)  # fmt: skip
def test_refused(model, options, message):
    net = dv.disentangle(model, "dnn", **options).eval()
    with pytest.raises(PrimalFilterError, match=message):
        dv.gate_crossings(net, X, torch.randn(1, 3))


def test_refused_examples():
    net = taken_apart(dense(), "dnn", torch.randn(1, 4, dtype=D))
    a = torch.randn(1, 4, dtype=D)
    for wrong in (torch.randn(1, 5), torch.full((1, 4), torch.nan), "x", torch.randn(2, 4)):
        with pytest.raises(PrimalFilterError):
            dv.gate_crossings(net, a, wrong)
    with pytest.raises(PrimalFilterError, match="most: expected at most 2 pieces"):
        dv.gate_crossings(net, 9 * a, -9 * a, most=2)
    with pytest.raises(PrimalFilterError, match="from 0 to 1"):
        dv.gate_crossings(net, a, -a).logits([1.5])
    with pytest.raises(PrimalFilterError, match="net: expected"):
        dv.gate_crossings(nn.Linear(4, 2), a, a)


def test_weights_network_of_functions():
    """A model spelt with functions, sizes and a global maximum."""

    class Spelt(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 4, 3), nn.Linear(4, 2)

        def forward(self, x):
            h = F.relu(self.a(x))
            return self.b(F.relu(h.amax((2, 3)) - 0.1))

    a, b = torch.randn(2, 1, 1, 6, 6, dtype=D)
    net = taken_apart(enliven(Spelt().double()), "dnn", a)
    found = dv.gate_crossings(net, a, b)
    t, x = check(net, a, b, found)
    check_logits(net, found, t, x)
