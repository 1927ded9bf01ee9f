"""The exact kernels.

- NPK and expected NTK equal the joint second moments of all scalar entries (an oracle that uses no
  rule), on every architecture shrunk, on residual networks and on random graphs, in float64.
- The closed forms of the papers: fully connected (4.1), circular convolutions summed over rotations
  and their rotational invariance (4.3), the 2^b ensemble of residual networks (4.4).
- Permuting gate layers leaves a fully connected kernel as it is, and changes a convolutional one.
- Ones input, soft and hard gates, stride, padding modes, dilation, pooling before a convolution,
  option-A shortcuts, grouped and depthwise convolutions, concatenation, max-pool switches.
- Symmetric, positive semi-definite, the same in float32 and for any tile size.
- That the mean of the empirical NTK is the expected one is in `test_tiny_graphs.py`, exactly.
- What has no exact rule is refused, naming the operation.
"""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.architectures import ResNet, c4gap, fc
from dualview.errors import PathKernelError
from dualview.path_enumeration import enumerated_expected_ntk, enumerated_npk
from dualview.path_kernel.kernel import weight_layers
from tests.cases import enliven, relative_error, small_architecture, small_input
from tests.path_kernel.second_moments import second_moments
from tests.random_networks import Features, random_networks

pytestmark = pytest.mark.filterwarnings("ignore::dualview.DualviewWarning")


def gated(model, kind="dgn", **options):
    return dv.disentangle(model.double(), kind, seed=0, **options).eval()


def assert_exact(net, x, y=None, **options):
    """Both kernels against the oracle."""
    with torch.no_grad():
        npk, ntk = second_moments(net, x, x if y is None else y, hard=bool(options))
        assert npk.abs().max() > 1e-12, "a dead network shows nothing"
        assert relative_error(dv.npk(net, x, y, **options), npk) < 1e-11
        assert relative_error(dv.expected_ntk(net, x, y, **options), ntk) < 1e-11


# Against the oracle


@pytest.mark.parametrize("name", ["fc", "vconv", "gconv", "c4gap"])
@pytest.mark.parametrize("weights_input", ["data", "ones"])
def test_plain_architectures(name, weights_input):
    net = gated(small_architecture(name), "dlgn", weights_input=weights_input)
    assert_exact(
        net, small_input(name, 2)[:, :, :4, :4] if name == "gconv" else small_input(name, 2)
    )


@pytest.mark.parametrize("kind", ["dnn", "dgn", "dlgn"])
def test_residual_network_with_option_a_shortcuts(kind):
    model = enliven(ResNet(1, 2, (2, 5, 4), 2, batch_norm=kind == "dgn"))
    x = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    assert_exact(gated(model, kind), x[:1], x[1:])


VGG = [nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 3, 3, padding=1)]


@pytest.mark.parametrize("max_pool", ["average", "switch"])
def test_pooling_before_a_convolution(max_pool):
    head = [nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)]
    net = gated(nn.Sequential(*VGG, *head), max_pool=max_pool)
    assert_exact(net, torch.randn(2, 1, 4, 4, dtype=torch.float64))


RANDOM = Features(shared=False, size=5, channels=3, steps=5)


@settings(max_examples=40)  # hundreds are in test_tiny_graphs and test_against_path_kernel
@given(random_networks(RANDOM), st.sampled_from(["dnn", "dgn", "dlgn", "ones"]))
def test_random_graphs(model, kind):
    x = torch.randn(2, *model.input_shape, dtype=torch.float64)
    ones = {"weights_input": "ones"} if kind == "ones" else {}
    net = gated(model, "dgn" if ones else kind, **ones)
    with torch.no_grad():
        npk, ntk = second_moments(net, x, x)
        for got, expected in ((dv.npk(net, x), npk), (dv.expected_ntk(net, x), ntk)):
            torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-300)


class Branches(nn.Module):
    """Every way in which two branches may meet."""

    def __init__(self, meet):
        super().__init__()
        self.meet = meet
        self.conv1, self.conv2 = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.depthwise = nn.Conv2d(4, 8, 2, groups=4)
        self.thin = nn.Conv2d(1, 2, 1)
        self.shuffle = nn.ChannelShuffle(2)
        self.register_buffer("mean", torch.tensor([0.4, -0.3]).reshape(1, 2, 1, 1))
        self.register_buffer("std", torch.tensor([0.5, 2.0]).reshape(1, 2, 1, 1))
        self.head = nn.LazyLinear(2)

    def forward(self, x):
        u = F.relu(self.conv1(x))
        return self.head(self.meet(self, x, u).mean((2, 3)))


MEETINGS = {
    "identity skip": lambda m, x, u: F.relu(m.conv2(u) + u),
    "the same twice": lambda m, x, u: F.relu(m.conv2(u + u)),
    "difference": lambda m, x, u: u - F.relu(m.conv2(u)) * 0.5,
    "gates of one value": lambda m, x, u: F.relu(u) + F.leaky_relu(m.conv2(u), 0.2),
    "concatenation": lambda m, x, u: torch.cat([u, F.relu(m.conv2(u))], 1),
    "concatenated with itself": lambda m, x, u: torch.cat([u, u], 1),
    "chunks": lambda m, x, u: torch.cat(torch.chunk(F.relu(m.conv2(u)), 2, 1)[::-1], 1),
    "input skip": lambda m, x, u: m.conv2(u) + torch.cat([x, x], 1),
    "grouped": lambda m, x, u: F.relu(m.grouped(u)) + u,
    "depthwise": lambda m, x, u: F.relu(m.depthwise(m.grouped(u))),
    "grouped before a convolution": lambda m, x, u: m.conv2(F.relu(m.grouped(u))),
    "pool then gate": lambda m, x, u: F.relu(m.conv2(F.relu(F.avg_pool2d(u, 2)))),
    "pool then add": lambda m, x, u: F.relu(F.avg_pool2d(u, 2) + F.avg_pool2d(m.conv2(u), 2)),
    "padded": lambda m, x, u: F.pad(m.conv2(F.pad(u, (1, 0, 0, 2))), (0, 1, 1, 0, 1, 0)),
    "sliced": lambda m, x, u: F.relu(m.conv2(u)[:, 1:3, ::2, 1:]),
    "upsampled": lambda m, x, u: m.conv2(_upsampled(u[..., :2, :3])),
    "scaled": lambda m, x, u: m.conv2(2 * u / 3) - 1,
    "per-channel scale": lambda m, x, u: m.conv2(u * torch.arange(1.0, 5).double().view(4, 1, 1)),
    "max pool": lambda m, x, u: F.relu(m.conv2(F.max_pool2d(u, 3, 2, 1))),
    "max pool of a skip": lambda m, x, u: F.max_pool2d(F.relu(m.conv2(u) + u), 2),
    "pools of two gates": lambda m, x, u: F.avg_pool2d(u, 2) + F.avg_pool2d(F.leaky_relu(-u), 2),
    # Selections of the channels of one layer, added.
    "chunks added": lambda m, x, u: u.chunk(2, 1)[0] + u.chunk(2, 1)[1],
    "sum of splits": lambda m, x, u: _halves(F.relu(m.conv2(u)).split(2, 1)),
    "overlapping slices": lambda m, x, u: u[:, :3] + 2 * u[:, 1:],
    "strided slices": lambda m, x, u: u[:, ::2] - u[:, 1::2],
    "narrow": lambda m, x, u: u.narrow(1, 0, 2) + m.conv2(u).narrow(1, 2, 2) - u.narrow(1, 1, 2),
    "rolled": lambda m, x, u: u + u.roll(1, 1),
    "rolled back": lambda m, x, u: (u + u.roll(1, 1)) + (u + u.roll(1, 1)).roll(-1, 1),
    "rolled round": lambda m, x, u: u + 2 * u.roll(1, 1).roll(3, 1),
    "flipped": lambda m, x, u: u + u.flip(1),
    "permuted copies": lambda m, x, u: u[:, [2, 0, 1, 3]] + u[:, [0, 2, 1, 1]],
    "shifted up": lambda m, x, u: u + F.pad(u, (0, 0, 0, 0, 1, 0))[:, :-1],
    "selections joined and added": lambda m, x, u: torch.cat([u[:, 2:], u[:, :2]], 1) - 3 * u,
    "shuffled": lambda m, x, u: u + F.relu(m.shuffle(m.conv2(u))) + m.shuffle(u),
    "grouped halves": lambda m, x, u: _halves(m.grouped(u).chunk(2, 1)) + u[:, 1:3],
    "sum and difference of groups": lambda m, x, u: _sum_and_difference(m.grouped(u).chunk(2, 1)),
    "depthwise of halves": lambda m, x, u: m.depthwise(u + u.roll(2, 1)).relu(),
    "pooled halves": lambda m, x, u: F.avg_pool2d(u[:, :2], 2) + F.avg_pool2d(F.relu(-u)[:, 2:], 2),
    "gated after selection": lambda m, x, u: F.relu(u[:, :2] - u[:, 2:]) + u[:, 1:3],
    "max pool of halves": lambda m, x, u: F.max_pool2d(u[:, :2], 2) + F.max_pool2d(u[:, 2:], 2),
    "halves of the input": lambda m, x, u: F.relu(m.thin(x[:, :1] - x[:, 1:])),
    "shifted halves": lambda m, x, u: u[:, :2, 1:] + u[:, 2:, :-1],
    # Constants, before the first weight layer and after it.
    "normalised input": lambda m, x, u: F.relu(m.conv1((x - 0.5) / 0.25)),
    "normalised by buffers": lambda m, x, u: F.relu(m.conv1((x - m.mean) / m.std)),
    "reflected input": lambda m, x, u: F.relu(m.conv1(1 - x)),
    "gated input": lambda m, x, u: m.conv1(2 - F.relu(x - 0.25)),
    "padded input": lambda m, x, u: F.relu(m.conv1(F.pad(x + 1, (1, 2, 0, 1)))),
    "coordinates": lambda m, x, u: F.relu(
        m.conv2(torch.cat([x, m.mean.expand(x.shape[0], 2, 4, 5)], 1))
    ),
    "input and its shift": lambda m, x, u: F.relu(m.conv1(x + torch.roll(1 - x, 1, 3))),
    "skip of the normalised input": lambda m, x, u: F.relu(m.thin(x[:, :1]) + (x - 3)),
    "constant on the left": lambda m, x, u: (1 - u) + 2 * u,
    "constant and alpha": lambda m, x, u: torch.add(m.mean.sum(), u, alpha=3) - u,
    "method and alpha": lambda m, x, u: u.sub(m.mean[:, :1], alpha=2).add(other=u, alpha=-3),
    "constant less a value": lambda m, x, u: torch.sub(torch.ones(4, 1, 1).double(), u) + 3 * u,
    "named operands": lambda m, x, u: torch.sub(input=torch.mul(input=u, other=3), other=u),
    "joined constant": lambda m, x, u: torch.cat([u, m.mean.expand(x.shape[0], 2, 4, 5)], 1),
    "divided": lambda m, x, u: torch.div(u, other=torch.arange(1.0, 5.0).view(4, 1, 1)) - u,
    "scaled head": lambda m, x, u: u / torch.tensor(4.0) * -1 + u,
    "in place": lambda m, x, u: _in_place(m.conv2(u), u),
}


def _upsampled(u):
    return F.interpolate(u, scale_factor=2, mode="bilinear")


def _halves(parts):
    return parts[0] - 2 * parts[1]


def _sum_and_difference(parts):
    return torch.cat([F.relu(parts[0] + parts[1]), parts[0] - 2 * parts[1]], 1)


def _in_place(v, u):
    v *= 2
    v -= u
    v += 1
    v /= 3
    return v


@pytest.mark.parametrize("meeting", MEETINGS)
def test_meetings_of_branches(meeting):
    model = Branches(MEETINGS[meeting]).double()
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        model(x)
    assert_exact(gated(model), x)


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
@pytest.mark.parametrize(("stride", "dilation", "kernel"), [(1, 1, 3), (2, 1, 3), (1, 2, 2)])
def test_convolution_options(mode, stride, dilation, kernel):
    conv = nn.Conv2d(2, 3, kernel, stride, 1, dilation, padding_mode=mode)
    model = nn.Sequential(conv, nn.ReLU(), nn.Conv2d(3, 2, (1, 2)), nn.ReLU(), nn.Flatten())
    model.append(nn.LazyLinear(2))
    x = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    model.double()(x)
    assert_exact(gated(model), x)


def test_one_dimensional_convolution():
    model = nn.Sequential(nn.Conv1d(2, 3, 3, padding="same"), nn.ReLU(), nn.AvgPool1d(2))
    model.extend([nn.Conv1d(3, 2, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(1)])
    x = torch.randn(2, 2, 7, dtype=torch.float64)
    model.double()(x)
    assert_exact(gated(model), x)


def test_hard_gates_of_a_soft_gated_network():
    net = gated(small_architecture("fc"), "dlgn")
    x = small_input("fc")
    assert_exact(net, x, gates="hard")
    assert relative_error(dv.npk(net, x, gates="hard"), dv.npk(net, x)) > 0.01


def test_biases_are_paths_of_their_own():
    # One hidden layer by hand: E f f' = (<x, x'>/n + 1) <G, G'>/w + 1, biases of unit variance.
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    net = gated(model)
    x = torch.randn(4, 3, dtype=torch.float64)
    (g,) = net.gates(x)
    expected = (x @ x.T / 3 + 1) * (g @ g.T / 5) + 1
    torch.testing.assert_close(dv.npk(net, x, biases=True), expected)


def test_batch_norm_scales_on_request():
    model = enliven(nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 1)))
    net = gated(model, "dnn")
    x = torch.randn(4, 3, dtype=torch.float64)
    (g,) = net.gates(x)
    bn = model[1]
    g = g * (bn.weight / torch.sqrt(bn.running_var + bn.eps))
    torch.testing.assert_close(dv.npk(net, x, batch_norm="scale"), x @ x.T / 3 * (g @ g.T / 5))


def test_batch_norm_has_a_bias_of_its_own():
    layers = [
        nn.Linear(3, 5, bias=False),
        nn.BatchNorm1d(5),
        nn.ReLU(),
        nn.Linear(5, 1, bias=False),
    ]
    model = enliven(nn.Sequential(*layers))
    net = gated(model, "dnn")
    x = torch.randn(4, 3, dtype=torch.float64)
    (g,) = net.gates(x)
    scaled = g * (model[1].weight / torch.sqrt(model[1].running_var + model[1].eps))
    expected = (x @ x.T / 3 * (scaled @ scaled.T) + g @ g.T) / 5
    torch.testing.assert_close(dv.npk(net, x, biases=True, batch_norm="scale"), expected)
    # Theta: by first weights 3 x x'/3, by the bias 1, by last weights 5 K.
    ntk = (x @ x.T + 1) * (g @ g.T) / 5 + (x @ x.T / 3 + 1) * (g @ g.T)
    torch.testing.assert_close(dv.expected_ntk(net, x, biases=True), ntk)


def test_batch_norm_bias_on_images():
    layers = [nn.Conv2d(1, 2, 2, bias=False), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 3, 2)]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4, 1))
    net, x = gated(model), torch.randn(2, 1, 4, 4, dtype=torch.float64)
    expected = enumerated_npk(net, x, biases=True)
    assert relative_error(dv.npk(net, x, biases=True, normalise=False), expected) < 1e-10


class SharedBias(nn.Module):
    """Biases that reach the output by two routes; `routes` makes them of u and v, both gated."""

    def __init__(self, routes):
        super().__init__()
        self.routes = routes
        self.conv1 = nn.Conv2d(1, 2, 2)
        self.conv2, self.conv3 = nn.Conv2d(2, 2, 1, bias=False), nn.Conv2d(2, 2, 1, bias=False)
        self.norm, self.flat_norm = nn.BatchNorm2d(2), nn.BatchNorm1d(8)
        self.shift = nn.Parameter(torch.zeros(2, 1, 1))
        self.places = nn.Parameter(torch.zeros(1, 2, 2))
        self.head = nn.LazyLinear(1, bias=False)

    def forward(self, x):
        u = F.relu(self.conv1(x))
        return self.head(F.relu(self.routes(self, u, self.conv2(u))).flatten(1))


ROUTES = {
    "one norm of two branches": lambda m, u, v: m.norm(m.conv3(u)) + m.norm(v),
    "one norm, gated and scaled": lambda m, u, v: F.relu(m.norm(m.conv3(u))) - 2 * m.norm(v),
    "one norm, pooled": lambda m, u, v: F.avg_pool2d(m.norm(v), 2, 1, 1)[:, :, 1:, 1:] + m.norm(u),
    "one norm, its halves": lambda m, u, v: m.norm(u)[:, :1] + F.relu(m.norm(v))[:, 1:],
    "one norm, rolled": lambda m, u, v: m.norm(m.conv3(u)) + m.norm(v).roll(1, 1),
    "skip after a layer's bias": lambda m, u, v: 3 * u - v,
    "norm of a skip": lambda m, u, v: m.norm(m.norm(u) + v),
    "one parameter added twice": lambda m, u, v: F.relu(v + m.shift) + 2 * (u + m.shift),
    "a parameter of many shapes": lambda m, u, v: (m.shift.view(1, 2, 1, 1) - v) + m.shift[None],
    "a bias a position": lambda m, u, v: F.relu(v + m.places) + m.places,
    "a constant beside biases": lambda m, u, v: (1 - v) + 2 * m.norm(u) - torch.tensor(0.5),
    "norm of a flattened image": lambda m, u, v: m.flat_norm(v.flatten(1)) + u.flatten(1),
}


@pytest.mark.parametrize("case", ROUTES)
def test_biases_that_reach_the_output_by_two_routes(case):
    model = SharedBias(ROUTES[case]).double()
    x = torch.randn(2, 1, 3, 3, dtype=torch.float64)
    with torch.no_grad():
        model(x)
    net = gated(enliven(model), "dnn")
    expected = enumerated_npk(net, x, biases=True)
    assert relative_error(dv.npk(net, x, biases=True, normalise=False), expected) < 1e-10
    unit = {name: math.sqrt(inputs) for name, inputs in weight_layers(net).items()}
    ntk = enumerated_expected_ntk(net, x, biases=True)
    assert relative_error(dv.expected_ntk(net, x, c=unit, biases=True), ntk) < 1e-10


def test_outputs_times_numbers_and_sums_of_heads():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other, self.first = nn.Linear(4, 2), nn.Linear(4, 2), nn.Linear(3, 4)

        def forward(self, x):
            h = F.relu(self.first(x))
            return (self.one(h) - 2 * self.other(h)) / 0.5 + 1

    assert_exact(gated(Heads()), torch.randn(2, 3, dtype=torch.float64))


# Closed forms of the papers


@pytest.mark.parametrize("depth", [2, 3, 6])
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("weights_input", ["data", "ones"])
def test_fully_connected_formula(depth, normalise, weights_input):
    net = gated(fc(input_shape=(1, 2, 3), width=8, depth=depth), weights_input=weights_input)
    x = torch.randn(5, 1, 2, 3, dtype=torch.float64)
    flat = x.flatten(1) if weights_input == "data" else torch.ones(5, 6, dtype=torch.float64)
    expected = flat @ flat.T
    for g in net.gates(x):
        expected = expected * (g @ g.T)
    scale = 6 * 8 ** (depth - 1) if normalise else 1
    torch.testing.assert_close(dv.npk(net, x, normalise=normalise), expected / scale)
    # 4.2: E[NTK] = d sigma^(2(d - 1)) NPK with equal variances sigma^2 = 1/2.
    c = {name: math.sqrt(inputs / 2) for name, inputs in weight_layers(net).items()}
    ntk = depth * 0.5 ** (depth - 1) * expected
    torch.testing.assert_close(dv.expected_ntk(net, x, c=c), ntk)


def circular(depth, size, bias=False):
    layers = []
    for inputs, outputs in itertools.pairwise([2] + [3] * depth):
        conv = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="circular", bias=bias)
        layers += [conv, nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))


def rotations(x):
    shifts = itertools.product(range(x.shape[2]), range(x.shape[3]))
    return [x.roll(shift, (2, 3)) for shift in shifts]


def test_rotational_invariance():
    net, x = gated(circular(2, 4), "dlgn"), torch.randn(3, 2, 4, 3, dtype=torch.float64)
    expected = dv.npk(net, x)
    for rotated in rotations(x):
        torch.testing.assert_close(dv.npk(net, x, rotated), expected)
    zero_padded = gated(c4gap(2, (2, 4, 3), 3), "dlgn")
    assert relative_error(dv.npk(zero_padded, x, x.roll(1, 3)), dv.npk(zero_padded, x)) > 1e-3


def test_sum_over_rotations():
    # Theory 4.3 by hand: walks of d_cv kernel offsets from every input position, gates along them.
    net, x = gated(circular(2, 3), "dgn", gate="hard"), torch.randn(2, 2, 3, 3).double()
    offsets = list(itertools.product((-1, 0, 1), repeat=2))

    def overlap(i, a, b):
        total = 0.0
        (g1, g2), (h1, h2) = net.gates(a[None]), net.gates(b[None])
        first, second = (g1 * h1)[0].sum(0), (g2 * h2)[0].sum(0)
        for d1, d2 in itertools.product(offsets, repeat=2):
            p = ((i[0] + d1[0]) % 3, (i[1] + d1[1]) % 3)
            q = ((p[0] + d2[0]) % 3, (p[1] + d2[1]) % 3)
            total += float(first[p] * second[q])
        return total

    a, b = x
    total = 0.0
    for r in rotations(b[None]):
        for i in itertools.product(range(3), range(3)):
            total += float((a[:, i[0], i[1]] * r[0, :, i[0], i[1]]).sum()) * overlap(i, a, r[0])
    npk = dv.npk(net, x, normalise=False)[0, 1]
    assert float(npk) == pytest.approx(total / 81, rel=1e-12)
    # beta = d_cv s_cv^(2(d_cv - 1)) s_fc^(2 d_fc) + d_fc s_cv^(2 d_cv) s_fc^(2(d_fc - 1))
    s_cv, s_fc = 0.3, 0.7
    names = weight_layers(net)
    variance = dict(zip(names, (s_cv, s_cv, s_fc), strict=True))
    c = {name: math.sqrt(variance[name] * inputs) for name, inputs in names.items()}
    beta = 2 * s_cv * s_fc + s_cv**2
    assert float(dv.expected_ntk(net, x, c=c)[0, 1]) == pytest.approx(beta * total / 81, rel=1e-12)


class FullyConnectedResidual(nn.Module):
    """b + 2 blocks of d_blk dense layers, b of them bypassed by skip connections."""

    def __init__(self, b, depth, width=4):
        super().__init__()
        self.first = self._block(3, depth, width)
        self.blocks = nn.ModuleList(self._block(width, depth, width) for _ in range(b))
        self.last = nn.Sequential(self._block(width, depth - 1, width), nn.Linear(width, 1, False))

    @staticmethod
    def _block(inputs, depth, width):
        layers = []
        for _ in range(depth):
            layers += [nn.Linear(inputs, width, False), nn.ReLU()]
            inputs = width
        return nn.Sequential(*layers)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)


@pytest.mark.parametrize("b", range(6))
def test_ensemble_of_residual_networks(b):
    depth, variance = 2, 0.3
    net = gated(FullyConnectedResidual(b, depth))
    x = torch.randn(3, 3, dtype=torch.float64)
    overlaps = [g @ g.T for g in net.gates(x)]
    blocks = [math.prod(overlaps[k * depth : (k + 1) * depth]) for k in range(b + 1)]
    blocks.append(math.prod(overlaps[(b + 1) * depth :]))
    npk, ntk = 0, 0
    for kept in itertools.product([False, True], repeat=b):
        member = x @ x.T * blocks[0] * blocks[-1]
        for block, keep in zip(blocks[1:-1], kept, strict=True):
            member = member * block if keep else member
        layers = (sum(kept) + 2) * depth
        npk = npk + member
        ntk = ntk + layers * variance ** (layers - 1) * member
    torch.testing.assert_close(dv.npk(net, x, normalise=False), npk)
    c = {name: math.sqrt(variance * inputs) for name, inputs in weight_layers(net).items()}
    torch.testing.assert_close(dv.expected_ntk(net, x, c=c), ntk)


def test_permuted_gate_layers():
    x = torch.randn(3, 1, 2, 3, dtype=torch.float64)
    dense = fc(input_shape=(1, 2, 3), width=5, depth=4)
    kernels = [
        dv.npk(gated(dense, "dlgn", gate_order=order), x)
        for order in itertools.permutations(range(3))
    ]
    assert all(torch.allclose(kernel, kernels[0]) for kernel in kernels)
    image, model = torch.randn(3, 2, 5, 4, dtype=torch.float64), c4gap(2, (2, 5, 4), 3)
    one, other = (
        dv.npk(gated(model, "dlgn", gate_order=order), image)
        for order in ((0, 1, 2, 3), (3, 0, 2, 1))
    )
    assert relative_error(one, other) > 1e-3


# As a kernel


@pytest.mark.parametrize("name", ["fc", "gconv", "vgg16", "resnet20"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_symmetric_and_positive_semi_definite(name, dtype):
    net = dv.disentangle(small_architecture(name, name != "fc"), "dlgn", seed=0).to(dtype)
    x = small_input(name, 6).to(dtype)
    kernel = dv.npk(net, x)
    assert kernel.dtype == dtype
    assert torch.equal(kernel, kernel.T)
    epsilon = torch.finfo(dtype).eps
    values = torch.linalg.eigvalsh(kernel.double())
    assert values.min() > -20 * epsilon * values.max()
    torch.testing.assert_close(kernel, dv.npk(net, x, x))
    exact = dv.npk(net.double(), x.double())
    torch.testing.assert_close(kernel.double(), exact, rtol=500 * epsilon, atol=0)


@pytest.mark.parametrize("memory", [7e4, 3e5, 1e9])
def test_tiles_do_not_matter(memory):
    net, x = gated(small_architecture("gconv"), "dlgn"), small_input("gconv", 5)
    expected = dv.npk(net, x, x[:3], memory=1e9)
    torch.testing.assert_close(dv.npk(net, x, x[:3], memory=memory), expected)
    torch.testing.assert_close(dv.npk(net, x, memory=memory)[:, :3], expected)


def test_mode_of_the_network_does_not_matter():
    net, x = gated(small_architecture("resnet20", True), "dgn"), small_input("resnet20", 2)
    expected = dv.npk(net, x)
    assert torch.equal(dv.npk(net.train(), x), expected)
    assert net.training
    assert net.gating_network.training


# Refusals


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        return self.fc(F.relu(self.fc(x)))


class TiedBias(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
        self.other.bias = self.one.bias

    def forward(self, x):
        return self.other(F.relu(self.one(x)))


def test_a_bias_of_two_layers_is_refused_where_biases_count():
    net, x = dv.disentangle(TiedBias(), "dnn"), torch.randn(2, 3)
    with pytest.raises(PathKernelError, match="it uses the bias of Linear"):
        dv.npk(net, x, biases=True)
    assert dv.npk(net, x).isfinite().all()


REFUSED = {
    "tied": (Tied(), (3,), "uses the weights of Linear"),
    "gated output": (nn.Sequential(nn.Linear(2, 2), nn.ReLU()), (2,), "output of a weight layer"),
    "image output": (
        nn.Sequential(nn.ReLU(), nn.Conv1d(1, 2, 1)),
        (1, 4),
        "one value per class, got shape",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    model, shape, message = REFUSED[case]
    with pytest.raises(PathKernelError, match=message):
        dv.npk(dv.disentangle(model, "dgn"), torch.randn(2, *shape))


def test_overflow_is_said():
    model = fc(input_shape=(1, 1, 10), width=100, depth=28)
    net = dv.disentangle(model, "dgn", gate=dv.SoftGate(1e-6))
    x = torch.randn(2, 1, 1, 10)
    with pytest.raises(PathKernelError, match=r"got about 1e\d\d\. Repair: normalise=True, or"):
        dv.npk(net, x, normalise=False)
    assert dv.npk(net, x).isfinite().all()


def test_a_factor_beyond_float32_does_no_harm_where_the_product_fits():
    model = fc(input_shape=(1, 1, 10), width=100, depth=25)
    net = dv.disentangle(model, "dgn", gate=dv.SoftGate(1e-6))
    x = torch.randn(2, 1, 1, 10)
    kernel = dv.npk(net, x, normalise=False)
    exact = dv.npk(net.double(), x.double(), normalise=False)
    assert exact.abs().max() > 1e33
    torch.testing.assert_close(kernel.double(), exact, rtol=1e-4, atol=0)


def test_scales_of_other_layers_are_refused():
    net = dv.disentangle(fc(input_shape=(1, 1, 2), width=2, depth=2), "dgn")
    with pytest.raises(PathKernelError, match="c: expected a positive number for each"):
        dv.expected_ntk(net, torch.ones(1, 1, 1, 2), c={"other": 1.0})
