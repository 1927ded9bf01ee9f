"""The row kernel, against the general rules in float64 (which the oracle judges).

- Random graphs with everything the generator knows (pools before and inside skips, concatenation,
  groups, batch norm, any padding, shared modules, soft activations), for data and ones, hard and
  soft gates, with and without biases and batch norm's scales: NPK and NTK, of a set with itself and
  with another, are those of the rules. Most graphs are read.
- So they are for the networks of the field that stand for the kinds: a max or average pooled stem
  with identity skips, dense concatenation, inception, U-Net, shuffled groups; with permuted gates
  too.
- Sums that see one plane through the same windows are made at once.
- So are those of depthwise and grouped convolutions, which hold no plane of each group: strided,
  dilated, circular, with several channels of each, one behind another, before and behind max and
  average pools, on the input, in one axis, joined with zeros. Few wide groups have planes, and
  groups of small images whose gates are no bits.
- Neither a bound on memory that leaves one row at a time nor threads change a value; too small a
  bound is refused with what is needed.
- Kernels that float32 loses on the way are found again by enlarging every layer.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.errors import PathKernelError
from dualview.path_kernel.fast import row_grouped
from dualview.path_kernel.fast.plan import NotApplicableError
from dualview.path_kernel.fast.reader import are_hard
from dualview.path_kernel.fast.row_program import Overlap, mask_numbers
from dualview.path_kernel.fast.row_run import arrangement
from dualview.path_kernel.fast.rows import pack_rows, row_plan, row_tiles
from dualview.path_kernel.fast.simd_block import LANES
from dualview.path_kernel.kernel import weight_layers
from dualview.path_kernel.setting import Setting
from tests.cases import enliven, relative_error
from tests.random_networks import Features, random_networks

pytestmark = pytest.mark.filterwarnings("ignore::dualview.DualviewWarning")

LAWS = [
    {"biases": biases, "bias_variance": 0.5, "batch_norm": batch_norm}
    for biases in (False, True)
    for batch_norm in ("identity", "scale")
]


def by_rows(net, x1, x2, setting, hard, memory=512e6, boost=None):
    """The kernel by the row kernel, in float32."""
    more = {} if boost is None else {"boost": boost}
    with torch.no_grad():
        plan = row_plan(net, x1, setting, hard, **more)
        out = torch.full((len(x1), len(x1 if x2 is None else x2)), math.nan, dtype=torch.float64)
        for tile in row_tiles(net, x1, x2, setting, plan, hard, memory):
            out[tile.rows, tile.columns] = tile.kernel * math.exp(plan.log_scale)
    return out


def setting_of(net, law, ntk):
    variances = {name: 1 / n for name, n in weight_layers(net).items()} if ntk else None
    return Setting.of(*law.values(), variances, ntk=ntk)


def compare(model, shape, law, *, gate="hard", kind="dgn", n=3, memory=512e6, **options):
    """One network, both kernels; raises `NotApplicableError` where it is left to the rules."""
    net = dv.disentangle(model.double(), kind, gate=gate, seed=0, **options).eval()
    x = torch.randn(n, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for ntk, kernel in ((False, dv.npk), (True, dv.expected_ntk)):
        exact = kernel(net.double(), x, **law)
        setting = setting_of(net, law, ntk)
        got = by_rows(net.float(), x.float(), None, setting, are_hard(net, "model"), memory)
        assert relative_error(got, exact) < 1e-5
        got = by_rows(net, x[:1].float(), x.float(), setting, are_hard(net, "model"), memory)
        assert relative_error(got, exact[:1]) < 1e-5


def test_random_graphs():
    read, left = 0, {}

    @settings(max_examples=25)
    @given(
        random_networks(Features(dense=False)),
        st.sampled_from(LAWS),
        st.sampled_from(["data", "ones"]),
        st.sampled_from(["hard", "soft"]),
    )
    def one(model, law, weights_input, gate):
        nonlocal read
        try:
            compare(model, model.input_shape, law, gate=gate, weights_input=weights_input)
        except NotApplicableError as reason:
            left[str(reason)] = left.get(str(reason), 0) + 1
        except PathKernelError:  # no rule, so no fast kernel either
            return
        else:
            read += 1

    one()
    assert read >= 5 * sum(left.values()), left


class Residual(nn.Module):
    """A stem, a block with an identity skip, a strided one with a 1 x 1 shortcut."""

    def __init__(self, pool):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), pool)
        self.a, self.b = nn.Conv2d(5, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.c, self.d = nn.Conv2d(5, 7, 3, 2, 1), nn.Conv2d(7, 7, 3, padding=1)
        self.shortcut, self.fc = nn.Conv2d(5, 7, 1, 2), nn.Linear(7, 2)

    def forward(self, x):
        x = self.stem(x)
        x = F.relu(self.norm(self.b(F.relu(self.a(x)))) + x)
        x = F.relu(self.d(F.relu(self.c(x))) + self.shortcut(x))
        return self.fc(x.mean((2, 3)))


class Dense(nn.Module):
    """Layers that read all before them, a pooled transition."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
        self.norm, self.c = nn.BatchNorm2d(7), nn.Conv2d(7, 3, 3, padding=1)
        self.transition, self.d = nn.Conv2d(10, 6, 1), nn.Conv2d(6, 3, 3, padding=1)
        self.fc = nn.Linear(9, 2)

    def forward(self, x):
        x = self.a(x)
        x = torch.cat([x, self.b(F.relu(x))], 1)
        x = torch.cat([x, self.c(F.relu(self.norm(x)))], 1)
        x = F.avg_pool2d(self.transition(F.relu(x)), 2)
        x = torch.cat([x, self.d(F.relu(x))], 1)
        return self.fc(F.adaptive_avg_pool2d(F.relu(x), 1).flatten(1))


class Inception(nn.Module):
    """Branches of convolutions and of a pool, joined; pooled again."""

    def __init__(self, pool):
        super().__init__()
        self.stem, self.pool = nn.Conv2d(2, 6, 3, padding=1), pool
        self.a, self.b = nn.Conv2d(6, 3, 1), nn.Conv2d(6, 2, 1)
        self.b2, self.c = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(6, 2, 1)
        self.last, self.fc = nn.Conv2d(9, 5, 3, 2, 1), nn.Linear(5, 2)

    def forward(self, x):
        x = F.relu(self.stem(x))
        branches = self.a(x), self.b2(F.relu(self.b(x))), self.c(self.pool(x))
        x = self.pool(torch.cat([F.relu(branch) for branch in branches], 1))
        return self.fc(F.relu(self.last(x)).mean((2, 3)))


class UNet(nn.Module):
    """Down by a max pool, up by interpolation, joined with what was there before."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
        self.up, self.fc = nn.Conv2d(9, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, x):
        x = F.relu(self.a(x))
        low = F.relu(self.b(F.max_pool2d(x, 2)))
        x = torch.cat([x, F.interpolate(low, scale_factor=2, mode="bilinear")], 1)
        return self.fc(F.relu(self.up(x)).mean((2, 3)))


class Groups(nn.Module):
    """An inverted residual block, grouped convolutions, a shuffle between them, flatten."""

    def __init__(self):
        super().__init__()
        self.stem, self.wide = nn.Conv2d(2, 4, 3, 2, 1), nn.Conv2d(4, 8, 1)
        self.each, self.narrow = nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.Conv2d(8, 4, 1)
        self.a, self.shuffle = nn.Conv2d(4, 6, 3, 1, 1, groups=2), nn.ChannelShuffle(2)
        self.b, self.fc = nn.Conv2d(6, 6, 1, groups=2), nn.Linear(6 * 12, 2)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = x + self.narrow(F.relu(self.each(F.relu(self.wide(x)))))
        x = F.relu(self.b(self.shuffle(F.relu(self.a(x)))))
        return self.fc(x.flatten(1))


NETWORKS = {
    "max pooled stem": lambda: Residual(nn.MaxPool2d(3, 2, 1)),
    "average pooled stem": lambda: Residual(nn.AvgPool2d(3, 2, 1)),
    "adaptive max pool": lambda: Residual(nn.AdaptiveMaxPool2d((4, 3))),
    "dense": Dense,
    "inception, average": lambda: Inception(nn.AvgPool2d(3, 1, 1)),
    "inception, max": lambda: Inception(nn.MaxPool2d(3, 1, 1)),
    "u-net": UNet,
    "groups": Groups,
}
SHAPE = (2, 8, 6)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name):
    torch.manual_seed(0)
    model = enliven(NETWORKS[name]().double()).eval()
    for law in LAWS[::3]:
        compare(model, SHAPE, law)
    compare(model, SHAPE, LAWS[0], kind="dlgn")
    compare(model, SHAPE, LAWS[0], gate="soft", n=2)


def depthwise(channels, *, kernel=3, padding=1, times=1, **options):
    """A depthwise convolution of so many channels behind a gate."""
    many = times * channels
    convolution = nn.Conv2d(
        channels, many, kernel, padding=padding, groups=channels, bias=True, **options
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(many), nn.ReLU())


def of_parts(*parts, last=4):
    """A stem, parts, a 1 x 1 convolution and the mean."""
    stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU())
    pointwise = nn.Sequential(nn.Conv2d(last, 3, 1), nn.ReLU())
    mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    return nn.Sequential(stem, *parts, pointwise, mean)


class Halves(nn.Module):
    """Depthwise branches joined, and read depthwise again."""

    def __init__(self):
        super().__init__()
        self.stem, self.a = nn.Conv2d(2, 4, 3, padding=1), depthwise(2)
        self.b, self.last, self.fc = depthwise(4), nn.Conv2d(4, 3, 1), nn.Linear(3, 2)

    def forward(self, x):
        first, second = F.relu(self.stem(x)).chunk(2, 1)
        x = self.b(torch.cat([self.a(first), second], 1))
        return self.fc(F.relu(self.last(x)).mean((2, 3)))


WAITING = {
    "strided": lambda: of_parts(depthwise(4, stride=2)),
    "dilated": lambda: of_parts(depthwise(4, dilation=2, padding=2)),
    "circular": lambda: of_parts(depthwise(4, padding_mode="circular")),
    "valid, wide": lambda: of_parts(depthwise(4, kernel=(5, 2), padding=0)),
    "one position": lambda: of_parts(depthwise(4, kernel=1, padding=0, stride=2)),
    "two of each": lambda: of_parts(depthwise(4, times=2), last=8),
    "one behind another": lambda: of_parts(depthwise(4), depthwise(4, stride=2)),
    "groups of two": lambda: of_parts(nn.Conv2d(4, 4, 3, 2, 1, groups=2), nn.ReLU()),
    "more of fewer": lambda: of_parts(nn.Conv2d(4, 6, 1, groups=2), nn.ReLU(), last=6),
    "behind a max pool": lambda: of_parts(nn.MaxPool2d(2), depthwise(4)),
    "before a max pool": lambda: of_parts(depthwise(4), nn.MaxPool2d(3, 2, 1)),
    "before an average": lambda: of_parts(depthwise(4), nn.AvgPool2d(2), depthwise(4)),
    "halves": Halves,
}


@pytest.mark.parametrize("name", WAITING)
def test_grouped_convolutions_wait(name, monkeypatch):
    monkeypatch.setattr(row_grouped, "UPKEEP", 1000)  # whether it pays or not
    torch.manual_seed(0)
    model = enliven(WAITING[name]().double()).eval()
    compare(model, SHAPE, LAWS[0], n=2)
    compare(model, SHAPE, LAWS[3], n=2)
    compare(model, SHAPE, LAWS[3], gate="soft", n=2)
    net = dv.disentangle(model.float(), "dlgn", gate="hard", seed=0).eval()
    program = row_plan(net, torch.zeros(1, *SHAPE), Setting(), True).program
    assert all(plane.groups == 1 for plane in program.planes)


def test_of_the_input():
    torch.manual_seed(0)
    model = nn.Sequential(depthwise(2), nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Flatten())
    model = enliven(nn.Sequential(model, nn.Linear(144, 1)).double()).eval()
    for law in LAWS:
        compare(model, SHAPE, law, n=2)
    signal = nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 4, 3, 2, groups=4), nn.ReLU(), nn.Flatten()
    )
    compare(nn.Sequential(signal, nn.Linear(16, 1)).double(), (2, 12), LAWS[2], n=2)


def test_few_wide_groups_do_not_wait():
    wide = nn.Sequential(nn.Conv2d(4, 128, 3, 1, 1), nn.ReLU())
    grouped = nn.Sequential(nn.Conv2d(128, 128, 3, 1, 1, groups=2), nn.ReLU())
    net = dv.disentangle(of_parts(wide, grouped, last=128), "dgn", gate="hard", seed=0).eval()
    planes = row_plan(net, torch.zeros(1, *SHAPE), Setting(), True).program.planes
    assert max(plane.groups for plane in planes) == 2


def test_large_planes_of_groups_are_spared():
    net = dv.disentangle(of_parts(depthwise(4), depthwise(4)), "dlgn", gate="soft", seed=0).eval()
    setting = setting_of(net, LAWS[2], False)
    for size, most in (((8, 6), 4), ((128, 128), 1)):
        planes = row_plan(net, torch.zeros(1, 2, *size), setting, False).program.planes
        assert max(plane.groups for plane in planes) == most


@pytest.fixture(scope="module")
def pooled():
    torch.manual_seed(0)
    model = enliven(Residual(nn.MaxPool2d(3, 2, 1)).double()).eval()
    return dv.disentangle(model, "dgn", gate="hard", seed=0).eval().float()


def test_memory_and_threads(pooled):
    x = torch.randn(5, 2, 17, 16)
    whole = by_rows(pooled, x, None, Setting(), True)
    needed = 2 * smallest(pooled, x)
    threads = torch.get_num_threads()
    for count, memory in ((1, needed), (2, 512e6), (2, needed)):
        torch.set_num_threads(count)
        try:
            pairs = by_rows(pooled, x, x[:2], Setting(), True, memory)
            one = by_rows(pooled, x[:1], x[1:2], Setting(), True, memory)
        finally:
            torch.set_num_threads(threads)
        torch.testing.assert_close(pairs, whole[:, :2], rtol=1e-5, atol=0)
        torch.testing.assert_close(one, whole[:1, 1:2], rtol=1e-5, atol=0)


def test_the_stem_is_seen_once(pooled):
    program = row_plan(pooled, torch.randn(1, 2, 17, 16), Setting(), True).program
    overlaps = [o for o in program.operations if isinstance(o, Overlap)]
    of_stem = [
        (program.planes[o.target].groups, part.window.taps)
        for o in overlaps
        for part in o.parts
        if part.source == overlaps[0].target and part.window is not None
    ]
    # the pool's gates, and what the first block adds to them; then the 1 x 1 shortcut's rows
    assert of_stem == [(2, 9), (1, 9)]


def smallest(net, x):
    """Bytes of a pair that goes row by row."""
    program = row_plan(net, x, Setting(), True).program
    return arrangement(program, 1.0).bytes_each


def test_masks_take_what_is_said(pooled):
    x = torch.randn(3, 2, 17, 16)
    program = row_plan(pooled, x, Setting(), True).program
    with torch.no_grad():
        masks = pack_rows(pooled, x, program, True).masks
    assert sum(mask.size - LANES for mask in masks) == 3 * mask_numbers(program, LANES)


def test_too_little_memory(pooled):
    x = torch.randn(2, 2, 17, 16)
    with pytest.raises(PathKernelError, match=r"memory: expected at least [\d,]+ bytes for a pair"):
        by_rows(pooled, x, None, Setting(), True, 1e3)


def test_permuted_gates(pooled):
    model = enliven(Dense().double()).eval()
    net = dv.disentangle(model, "dlgn", gate="hard", seed=0).eval()
    assert net.n_gates > 2
    x = torch.randn(3, *SHAPE, dtype=torch.float64)
    exact = dv.npk(net, x)
    assert relative_error(by_rows(net.float(), x.float(), None, Setting(), True), exact) < 1e-5


def test_what_float32_loses_is_found_again():
    layers = [nn.Conv2d(2, 64, 1), nn.ReLU()]
    for _ in range(40):
        layers += [nn.Conv2d(64, 64, 1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))
    with torch.no_grad():
        for module in model:
            if isinstance(module, nn.Conv2d):  # one channel of 64 is open: 64^-41 of the paths
                module.bias.fill_(-100.0)
                module.bias[0] = 100.0
                module.weight.mul_(0.01)
    net = dv.disentangle(model.double(), "dnn").eval()
    x = torch.randn(2, 2, 2, 2, dtype=torch.float64)
    exact = dv.npk(net, x)
    assert exact[0, 0] < 1e-60
    got = by_rows(net.float(), x.float(), None, Setting(), True)
    assert relative_error(got, exact) < 1e-5
