"""Kernels too small or too large for float32 on the way, or in the end.

- A hundred layers of width 64 in float32 give what float64 gives: by the rules and by the fast
  kernel, chains, branches and biases, NPK and NTK, small and large inputs.
- A result that the type cannot hold is refused, with what it would be and the repair; 0 is 0.
- Ordinary kernels are left as they are, to the bit.
"""

import math

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.errors import PathKernelError
from dualview.path_kernel.fast.reader import Slow, read_network
from dualview.path_kernel.kernel import weight_layers
from dualview.path_kernel.propagate import Side, propagate
from dualview.path_kernel.scale import Reader, balanced, log_size, summed, within_middle
from dualview.path_kernel.setting import Setting


def dense(depth, width=64, inputs=4):
    torch.manual_seed(1)
    layers = []
    for k in range(depth):
        layer = nn.Linear(width if k else inputs, width)
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 1))


class Skip(nn.Module):
    """Chains of unequal depth, one of them dead for most examples, added before the last layer."""

    def __init__(self):
        super().__init__()
        self.short, self.long = dense(2)[:-1], dense(70)[:-1]
        self.head = nn.Linear(64, 1)

    def forward(self, x):
        return self.head(self.short(x) * 1e-15 + self.long(x))


def convolutional():
    torch.manual_seed(1)
    layers = []
    for k in range(40):
        conv = nn.Conv2d(3 if k else 1, 3, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight)
        nn.init.zeros_(conv.bias)
        layers += [conv, nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1))


X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
IMAGES = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0)) + 0.5
NETWORKS = {
    "dense": (dense, 100, X),
    "branches": (Skip, None, X),
    "images": (convolutional, None, IMAGES),
}


def network(name):
    make, depth, x = NETWORKS[name]
    return dv.disentangle(make() if depth is None else make(depth), "dnn").eval(), x


def in_double(net, x, ntk=False, biases=None):
    """The rules in float64, where nothing here under- or overflows, on the gates of float32."""
    gates, _ = net.gates_and_switches(x)
    side = Side(x.double(), [gate.double() for gate in gates])
    setting = Setting(None, biases, ntk=ntk)
    if ntk:
        variances = {name: 1 / inputs for name, inputs in weight_layers(net).items()}
        setting = Setting(variances, biases, ntk=ntk)
    block = propagate(net.weights_network, side, side, setting)
    return block.kernel[-1] * math.exp(block.log_scale)


def assert_alike(got, expected, dtype=torch.float32):
    """Every entry to rounding, however small."""
    assert got.dtype == dtype
    assert expected.diagonal().min() > 0
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=0)


def test_dense_networks_by_the_closed_form():
    net, x = network("dense")
    expected = x.double() @ x.double().T / 4
    for gate in net.gates(x):
        expected = expected * (gate.double() @ gate.double().T / 64)
    assert expected.diagonal().max() < 1e-25
    assert not isinstance(read_network(net, x, Setting(), "model"), Slow)
    assert_alike(dv.npk(net, x), expected)
    assert_alike(dv.npk(net, x[:2], x), expected[:2])
    ntk = expected * (4 + 64 * 100)
    assert_alike(dv.expected_ntk(net, x), ntk)


@pytest.mark.parametrize("ntk", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_rules_and_fast_kernel_in_float32_equal_float64(name, ntk):
    net, x = network(name)
    kernel = dv.expected_ntk if ntk else dv.npk
    with torch.no_grad():
        assert_alike(kernel(net, x), in_double(net, x, ntk))
        assert_alike(kernel(net, x, biases=True), in_double(net, x, ntk, biases=1.0))


@pytest.mark.parametrize("size", [1e-18, 1e-14, 1e15])
def test_extreme_inputs(size):
    """Gates without biases do not change with the size of the input."""
    model = nn.Sequential(nn.Linear(4, 3, False), nn.ReLU(), nn.Linear(3, 1, False))
    net, x = dv.disentangle(model, "dnn"), X * size
    expected = dv.npk(net.double(), X.double()) * size**2
    got = dv.npk(net.float(), x)
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=0)


REFUSED = {
    "npk": (dv.npk, {}, r"about 1e-\d\d.*Repair: normalise=False, or net.double\(\)"),
    "expected_ntk": (dv.expected_ntk, {}, r"about 1e-\d\d.*Repair: a larger c, or net.double\(\)"),
    "unnormalised": (
        dv.npk,
        {"normalise": False},
        r"x1\[0\] and x2\[0\]: expected 0 or a number from 1.2e-38 to 3.4e\+38, which float32 "
        r"holds, got about 1e\d{3}. Repair: normalise=True",
    ),
    "large c": (dv.expected_ntk, {"c": 4.0}, r"Repair: a smaller c"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_float32_cannot_hold_is_refused(name):
    kernel, options, message = REFUSED[name]
    net = dv.disentangle(dense(200), "dnn")
    with pytest.raises(PathKernelError, match=message):
        kernel(net, X, **options)


def test_normalised_overflow_does_not_advise_the_default():
    net = dv.disentangle(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)), "dnn")
    with pytest.raises(PathKernelError, match="Repair: examples normalised as for training, or"):
        dv.npk(net, X * 1e30)


def test_pairs_without_a_common_path_are_0():
    net = dv.disentangle(dense(3, width=2), "dnn").eval()
    for gates in ("model", "hard"):
        kernel = dv.npk(net, torch.cat([X, -X]), gates=gates)
        expected = in_double(net, torch.cat([X, -X]))
        assert (expected == 0).any()
        assert torch.equal(kernel == 0, expected == 0)


def kaiming(net):
    """Weights of variance 2 / fan-in for `empirical_ntk`, so that only its square is small."""
    return {n: p for n, p in net.weights_network.named_parameters() if p.dim() > 1}


@pytest.mark.parametrize("shrink", [1.0, 0.8, 0.55])
def test_empirical_ntk_in_float32_equals_float64(shrink):
    net = dv.disentangle(dense(100), "dnn").eval()
    weights = {name: p.detach() * shrink for name, p in kaiming(net).items()}
    if shrink < 0.6:  # about 1e-50
        with pytest.raises(PathKernelError, match=r"about 1e-\d\d, .*|about 1e-\d\d\. Repair"):
            dv.empirical_ntk(net, X, weights=weights)
        return
    got = dv.empirical_ntk(net, X, weights=weights)
    double = {name: value.double() for name, value in weights.items()}
    expected = dv.empirical_ntk(net.double(), X.double(), weights=double)
    assert expected.abs().max() < 10 if shrink < 1 else expected.abs().max() > 10
    assert_alike(got, expected)


@pytest.mark.parametrize("depth", [100, 210])
def test_features_in_float32_equal_float64(depth):
    net = dv.disentangle(dense(depth), "dnn").eval()
    got = dv.npk_features(net, X, 8)
    expected = dv.npk_features(net.double(), X.double(), 8)
    assert expected.abs().max() < 1e-10
    scale = expected.abs().amax(1, keepdim=True)
    torch.testing.assert_close(got.double() / scale, expected / scale, rtol=0, atol=1e-3)


def test_features_that_float32_cannot_hold_are_refused():
    net = dv.disentangle(dense(330), "dnn").eval()
    with pytest.raises(PathKernelError, match=r"the features of x\[0\]: .* about 1e-\d\d\. Repair"):
        dv.npk_features(net, X, 4)
    assert dv.npk_features(net.double(), X.double(), 4).abs().amin() > 0


# The pieces


def test_balance_is_exact_and_only_where_needed():
    kernel = torch.tensor([1e-30, 1.0, 0.0, 3e30]).reshape(1, 2, 2, 1)
    balance, scale = balanced(kernel, 0.5)
    exact = balance[0, ..., 0].double() * (scale - 0.5).exp()
    torch.testing.assert_close(exact, kernel[0, ..., 0].double(), rtol=1e-14, atol=0)
    assert balance[0, 0, 1, 0] == 1
    assert 0.1 < balance[0, 1, 1, 0] < 10
    same, untouched = balanced(kernel[:, :1, 1:], 0.5)
    assert same is not None
    assert torch.equal(same, kernel[:, :1, 1:])
    assert untouched == 0.5


def test_sum_of_kernels_of_unlike_scales():
    one = torch.tensor([1.0, 0.0]).reshape(1, 1, 2, 1)
    other = torch.tensor([1.0, 1.0]).reshape(1, 1, 2, 1)
    kernel, scale = summed([(one, 0.0), (other, torch.tensor([[-900.0, -900.0]]).double())])
    logs = log_size(kernel) + scale
    assert logs.tolist() == [[0.0, -900.0]]
    kernel, scale = summed([(one, 1.0), (other, 1.0)])
    assert torch.equal(kernel, one + other)
    assert scale == 1.0


def test_reader_at_the_ends_of_the_range():
    reader = Reader(torch.float64, "less", "more")
    one, at = torch.ones(1, 1, dtype=torch.float64), (range(1), range(1))
    for log in (708.0, -708.0):
        assert float(reader(one, log, *at)) == pytest.approx(math.exp(log), rel=1e-12)
    assert float(reader(one * 1e-300, 1000.0, *at)) == pytest.approx(math.exp(1000 - 690.7755279))
    for log in (710.0, -709.0):
        with pytest.raises(PathKernelError, match=r"float64 holds, got about 1e-?308"):
            reader(one, log, *at)
    assert float(reader(one * 0, 5000.0, *at)) == 0
    with pytest.raises(PathKernelError, match="got more on the way"):
        reader(one * math.nan, 0.0, *at)


def test_middle_of_the_range():
    x = torch.tensor([[0.0, 0.0], [1.0, 1e-30]])
    assert within_middle(x)
    assert not within_middle(torch.tensor([[1e-20], [1.0]]))
    assert not within_middle(torch.tensor([[1e20]]))
    assert within_middle(torch.tensor([[1e20]]).double())
