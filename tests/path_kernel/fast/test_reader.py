"""Reading graphs for the CPU kernel, and running what was read.

- Where it applies, `dv.npk` and `dv.expected_ntk` in float32 equal the torch rules in float64 to
  1e-5: all reference architectures, branches, pooling, strides, ones input, dense networks.
- Random graphs with hard gates: the same, whichever way is taken.
- Heads that make a vector of an image otherwise than by flattening or averaging it whole do not
  pass for one that does.
- It says in the debug log that it ran, or why not; it leaves to the torch rules what it must.
"""

import logging
import warnings

import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.architectures import ARCHITECTURES, fc
from dualview.errors import PathKernelError
from dualview.path_kernel.fast.plan import FastPlan
from dualview.path_kernel.fast.reader import Slow, read_network
from dualview.path_kernel.kernel import warn_of_slowness
from dualview.path_kernel.setting import Setting
from tests.cases import DLGN_ARCHITECTURES, SMALL, relative_error, small_architecture, small_input
from tests.path_kernel.test_kernel import MEETINGS, Branches, circular
from tests.random_networks import Features, random_networks

pytestmark = pytest.mark.filterwarnings("ignore::dualview.DualviewWarning")


def assert_same(model, x, kind="dgn", *, ntk=True, **options):
    """Fast in float32 against the rules in float64."""
    net = dv.disentangle(model.double(), kind, gate="hard", seed=0, **options).eval()
    exact = dv.npk(net, x.double())
    exact_ntk = dv.expected_ntk(net, x.double()) if ntk else None
    net, x = net.float(), x.float()
    assert not isinstance(read_network(net, x, Setting(), "model"), Slow)
    assert relative_error(dv.npk(net, x).double(), exact) < 1e-5
    rows = dv.npk(net, x[:1], x).double()
    assert relative_error(rows, exact[:1]) < 1e-5
    if ntk:
        assert relative_error(dv.expected_ntk(net, x).double(), exact_ntk) < 1e-5


@pytest.mark.parametrize(
    ("name", "weights_input"),
    [(n, w) for n in DLGN_ARCHITECTURES for w in ("data", "ones")] + [("resnet110", "data")],
)
def test_architectures(name, weights_input):
    batch_norm = name.startswith("resnet")
    model, x = small_architecture(name, batch_norm), small_input(name, 3)
    if name == "resnet110":  # deep float32 gates flip; see the note on gates in `npk_gram`
        x = x[:2]
    assert_same(model, x, "dlgn", weights_input=weights_input, ntk=name != "resnet110")


def test_more_examples_than_a_block_of_lanes():
    assert_same(small_architecture("gconv"), small_input("gconv", 37), "dlgn")


def test_circular_padding():
    assert_same(circular(3, 4), torch.randn(3, 2, 4, 5), "dlgn")


def test_vectors():
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 70), nn.ReLU(), nn.Linear(70, 2))
    assert_same(model, torch.randn(4, 5))


def test_unit_variances():
    net = dv.disentangle(fc(input_shape=(1, 2, 2), width=9), "dgn", gate="hard", seed=0)
    x = torch.randn(3, 1, 2, 2)
    expected = dv.npk(net.double(), x.double(), normalise=False)
    got = dv.npk(net.float(), x, normalise=False)
    assert relative_error(got.double(), expected) < 1e-5


FAST_MEETINGS = {"identity skip"}


@pytest.mark.parametrize("meeting", MEETINGS)
def test_meetings_of_branches(meeting):
    model = Branches(MEETINGS[meeting]).double()
    x = torch.randn(3, 2, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        model(x)
    net = dv.disentangle(model, "dgn", gate="hard", seed=0).eval()
    exact = dv.npk(net, x)
    net, x = net.float(), x.float()
    applied = not isinstance(read_network(net, x, Setting(), "model"), Slow)
    assert relative_error(dv.npk(net, x).double(), exact) < 1e-5
    if meeting in FAST_MEETINGS:
        assert applied


CHAINS = Features(
    activations=("nn.ReLU()",), max_pool=False, grouped=False, shared=False, size=6, channels=4
)


@settings(max_examples=40)
@given(random_networks(CHAINS))
def test_random_graphs(model):
    x = torch.randn(3, *model.input_shape, dtype=torch.float64)
    net = dv.disentangle(model, "dgn", gate="hard", seed=0).eval()
    try:
        exact = dv.npk(net, x)
    except PathKernelError:  # two views of one value are added: no rule, so no fast kernel either
        with pytest.raises(PathKernelError):
            dv.npk(net.float(), x.float())
        return
    torch.testing.assert_close(
        dv.npk(net.float(), x.float()).double(),
        exact,
        rtol=1e-4,
        atol=float(exact.abs().max()) * 1e-5,
    )


class SharedView(nn.Module):
    """Two views of one convolution: correlated, so they must not pass for independent."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(2, 1)

    def forward(self, x):
        u = F.relu(self.conv(x))
        return self.fc((u[:, :, ::2, ::2] + F.relu(u)[:, :, ::2, ::2]).mean((2, 3)))


class Seen(nn.Module):
    """A gated layer seen in a way that moves its channels or shifts it, under global pooling."""

    def __init__(self, view):
        super().__init__()
        self.view = view
        self.conv, self.fc = nn.Conv2d(2, 4, 3, padding=1), nn.LazyLinear(1)
        self(torch.zeros(1, 2, 4, 4))

    def forward(self, x):
        return self.fc(self.view(self, x).mean((2, 3)))


CHANNELS_AND_CONSTANTS = {
    "chunks": lambda m, x: _sum(F.relu(m.conv(x)).chunk(2, 1)),
    "slices": lambda m, x: _sum([F.relu(m.conv(x))[:, :3], m.conv(x)[:, 1:]]),
    "roll": lambda m, x: F.relu(m.conv(x).roll(1, 1)),
    "shifted copies": lambda m, x: _shifted(F.relu(m.conv(x))),
    "constant on the left": lambda m, x: 1 - F.relu(m.conv(x)),
    "normalised input": lambda m, x: F.relu(m.conv((x - 0.5) / 0.25)),
    "shifted input": lambda m, x: F.relu(m.conv(0.5 + x)),
}


def _sum(parts):
    return parts[0] + parts[1]


def _shifted(h):
    return F.pad(h, (0, 0, 0, 0, 1, 0)) + F.pad(h, (0, 0, 0, 0, 0, 1))


@pytest.mark.parametrize("case", CHANNELS_AND_CONSTANTS)
def test_channels_that_move_and_constants_do_not_go_by_offsets(case):
    net = dv.disentangle(Seen(CHANNELS_AND_CONSTANTS[case]).double(), "dgn", gate="hard", seed=0)
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    assert not isinstance(read_network(net.float(), x.float(), Setting(), "model"), FastPlan)
    if case == "slices":  # its convolution is used twice
        with pytest.raises(PathKernelError, match="a second time"):
            dv.npk(net, x.float())
        return
    exact = dv.npk(net.double(), x)
    net.float()
    assert relative_error(dv.npk(net, x.float()).double(), exact) < 1e-5


class Head(nn.Module):
    """conv, ReLU and what `use` makes of (n, 3, 2, 2)."""

    def __init__(self, use):
        super().__init__()
        self.use = use
        self.conv, self.dense = nn.Conv2d(1, 3, 1), nn.Linear(4, 2, bias=False)
        self.last = nn.LazyLinear(2)

    def forward(self, x):
        return self.last(self.use(self, F.relu(self.conv(x))))


HEADS = {
    "flatten": (lambda m, h: h.flatten(1), True),
    "view": (lambda m, h: h.view(h.size(0), -1), True),
    "reshape": (lambda m, h: h.reshape(-1, 12), True),
    "mean": (lambda m, h: h.mean((-1, 2)), True),
    "mean by name": (lambda m, h: torch.mean(h, axis=(2, 3), keepdims=True).flatten(1), True),
    "dense layer at positions": (lambda m, h: m.dense(h.flatten(2)).relu().flatten(1), False),
    "sum over windows": (lambda m, h: F.avg_pool2d(h, 2, divisor_override=1).flatten(1), False),
    "mean over channels": (lambda m, h: h.mean((1, 2)), False),
}
"""Head -> whether it goes by offsets; one of them must not pass for another."""


@pytest.mark.parametrize("name", HEADS)
def test_heads(name):
    use, by_offsets = HEADS[name]
    model, x = Head(use).double(), torch.randn(3, 1, 2, 2, dtype=torch.float64)
    with torch.no_grad():
        model(x)
    net = dv.disentangle(model, "dgn", gate="hard", seed=0, example_input=x).eval()
    exact = dv.npk(net, x)
    net, x = net.float(), x.float()
    assert relative_error(dv.npk(net, x).double(), exact) < 1e-5
    assert isinstance(read_network(net, x, Setting(), "model"), FastPlan) == by_offsets


NOT_FAST = {
    "no positions": (lambda: dv.disentangle(fc(input_shape=(1, 1, 4), width=3), "dgn"), (1, 1, 4)),
    "two views are added": (lambda: dv.disentangle(SharedView(), "dgn", gate="hard"), (1, 4, 4)),
    "three axes of positions": (
        lambda: dv.disentangle(
            nn.Sequential(nn.Conv3d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(2, 1)), "dgn"
        ),
        (1, 2, 2, 2),
    ),
}
REASONS = {
    "no positions": "there are no positions: the rules are matrix products",
    "two views are added": "two views of one value are added",
    "three axes of positions": "inputs have shape",
}


@pytest.mark.parametrize("case", NOT_FAST)
def test_what_is_left_to_the_rules(case):
    make, shape = NOT_FAST[case]
    slow = read_network(make(), torch.randn(2, *shape), Setting(), "model")
    assert isinstance(slow, Slow)
    assert REASONS[case] in slow.reason


def test_long_kernels_say_that_they_go_the_slow_way():
    net = dv.disentangle(SharedView(), "dgn", gate="hard")
    x = torch.randn(2, 1, 4, 4)
    slow = read_network(net, x, Setting(), "model")
    with pytest.warns(dv.DualviewWarning, match="two views of one value are added") as caught:
        warn_of_slowness(net, x, 10**9, slow)
    (warning,) = caught
    assert "1,000,000,000 pairs" in str(warning.message)
    assert "hours" in str(warning.message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_slowness(net, x, 10, slow)


def test_debug_log_says_which(caplog):
    net = dv.disentangle(fc(input_shape=(1, 1, 4), width=3), "dgn", gate="hard", seed=0)
    x = torch.randn(2, 1, 1, 4)
    with caplog.at_level(logging.DEBUG, "dualview.path_kernel"):
        dv.npk(net, x)
        dv.npk(net.double(), x.double())
    assert "by the fast tile" in caplog.text
    assert "by the torch rules: examples are torch.float64" in caplog.text


def test_memory_bound_changes_nothing():
    net = dv.disentangle(small_architecture("gconv"), "dlgn", gate="hard", seed=0).float()
    x = small_input("gconv", 9).float()
    assert torch.equal(dv.npk(net, x, memory=1.0), dv.npk(net, x))


def test_small_shapes_are_covered():
    assert set(SMALL) == set(ARCHITECTURES)
