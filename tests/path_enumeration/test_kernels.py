"""The neural path kernel and the expected NTK from their paths.

- Dense networks: the formulas of theory.md 4.1 and 4.2.
- Exact expectations: both kernels equal averages over all signs of the weights, which know of no
  paths, with skips, convolutions, pools, switches, batch norm, biases and unequal variances.
- Weights that occur twice on a path are refused, for kernels alone; weights that are read in
  parallel are not.
- An output is asked for where outputs differ; a variance that is missing, an output out of range
  and too many paths are refused.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dualview.errors import PathKernelError, TooManyPathsError
from dualview.path_enumeration import (
    enumerated_expected_ntk,
    enumerated_npk,
    path_features,
    path_values,
)
from tests.cases import enliven, relative_error
from tests.path_enumeration.models import DenseBlocks, dense, gated
from tests.path_enumeration.sign_average import sign_averages


@pytest.mark.parametrize("widths", [(4, 3, 2), (3, 2, 3, 2, 1)])
@pytest.mark.parametrize("gates", ["model", "hard"])
def test_dense_formulas(widths, gates):
    net = gated(dense(*widths))
    x, y = torch.randn(3, widths[0]).double(), torch.randn(2, widths[0]).double()
    hard = gates == "hard"
    expected = x @ y.T
    left, right = (net.gates_and_switches(examples, hard=hard)[0] for examples in (x, y))
    for g, h in zip(left, right, strict=True):
        expected = expected * (g @ h.T).detach()
    depth, variance = len(widths) - 1, 0.3
    npk = enumerated_npk(net, x, y, gates=gates)
    assert relative_error(npk, expected) < 1e-12
    ntk = enumerated_expected_ntk(net, x, y, gates=gates, variances=variance)
    assert relative_error(ntk, depth * variance ** (depth - 1) * expected) < 1e-12


class Skip(nn.Module):
    """Convolution, batch norm, identity skip, then `pool`."""

    def __init__(self, pool=None):
        super().__init__()
        self.first = nn.Conv1d(1, 2, 2, padding=1, padding_mode="circular", bias=False)
        self.second = nn.Conv1d(2, 2, 1, bias=False)
        self.norm = nn.BatchNorm1d(2)
        self.pool = pool or nn.Identity()
        self.last = nn.Linear(2, 1, bias=False)

    def forward(self, x):
        x = F.relu(self.first(x))
        x = F.relu(self.norm(self.second(x)) + x)
        return self.last(self.pool(x).mean(2))


class Parallel(nn.Module):
    """One layer read by two branches."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(2, 2)
        self.a, self.b = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)

    def forward(self, x):
        return self.a(F.relu(self.shared(x))) + self.b(F.relu(self.shared(x.flip(1))))


def strided(**options):
    conv = nn.Conv2d(1, 2, 2, stride=2, padding=1, bias=False, **options)
    return nn.Sequential(conv, nn.ReLU(), nn.Conv2d(2, 1, 1), nn.ReLU(), nn.Flatten())


EXACT = {
    "dense": (dense(2, 2, 2, 1, bias=False), (2,)),
    "dense with biases": (dense(2, 2, 1, bias=True), (2,)),
    "residual": (DenseBlocks(1, depth=1, width=2, inputs=2), (2,)),
    "strided convolution": (strided(), (1, 3, 3)),
    "reflected convolution": (strided(padding_mode="reflect"), (1, 3, 3)),
    "skip and batch norm": (Skip(), (1, 3)),
    "average pool": (Skip(nn.AvgPool1d(2, 1)), (1, 4)),
    "max pool": (Skip(nn.MaxPool1d(2)), (1, 4)),
    "read in parallel": (Parallel(), (2,)),
}


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("kind", ["dgn", "ones"])
@pytest.mark.parametrize("name", EXACT)
def test_expectations_over_all_signs(name, kind, biases):
    model, shape = EXACT[name]
    options = {"weights_input": "ones"} if kind == "ones" else {}
    if name == "max pool":
        options["max_pool"] = "switch"
    net = gated(enliven(model.double()).eval(), "dgn", **options)
    x = torch.randn(3, *shape, dtype=torch.float64)
    names = dict(net.weights_network.named_parameters())
    variances = {name: 0.5 + 0.25 * k for k, name in enumerate(names)}
    covariance, tangent = sign_averages(net, x, variances, biases=biases)
    choice = {"biases": biases, "batch_norm": "scale", "variances": variances, "output": 0}
    assert relative_error(enumerated_npk(net, x, **choice), covariance) < 1e-12
    assert relative_error(enumerated_expected_ntk(net, x, **choice), tangent) < 1e-12


class Tied(nn.Module):
    """A layer applied to what it made itself."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(2, 2), nn.Linear(2, 1)

    def forward(self, x):
        return self.last(F.relu(self.layer(F.relu(self.layer(x)))))


@pytest.mark.parametrize("kernel", [enumerated_npk, enumerated_expected_ntk])
def test_tied_weights_are_refused_for_kernels_only(kernel):
    net = gated(enliven(Tied().double()))
    x = torch.randn(3, 2, dtype=torch.float64)
    with pytest.raises(PathKernelError, match=r"layer\.weight\[.*occurs twice.*Repair: untie"):
        kernel(net, x)
    with torch.no_grad():
        assert relative_error(path_features(net, x) @ path_values(net).T, net(x)) < 1e-10


@pytest.mark.parametrize("kernel", [enumerated_npk, enumerated_expected_ntk])
def test_an_output_is_asked_for_where_outputs_differ(kernel):
    net = gated(nn.Sequential(nn.Linear(3, 2, bias=False), nn.ReLU()).double())
    x = torch.randn(2, 3, dtype=torch.float64)
    with pytest.raises(PathKernelError, match=r"2 outputs do not share.*pass output=0"):
        kernel(net, x)
    (gate,) = net.gates(x)
    for output in range(2):
        expected = (x @ x.T) * torch.outer(gate[:, output], gate[:, output])
        assert relative_error(kernel(net, x, output=output), expected) < 1e-12
    with pytest.raises(PathKernelError, match=r"output: expected 0 \.\.\. 1, got 2"):
        kernel(net, x, output=2)


def test_refusals():
    net = gated(dense(4, 5, 6, 2))
    x = torch.randn(2, 4, dtype=torch.float64)
    with pytest.raises(TooManyPathsError, match=r"240 paths: expected at most 239"):
        enumerated_npk(net, x, limit=239)
    with pytest.raises(PathKernelError, match=r"none for '4\.weight'"):
        enumerated_npk(net, x, variances={"0.weight": 1.0, "2.weight": 1.0})
    with pytest.raises(PathKernelError, match=r"gates: expected .* got 'soft'"):
        enumerated_npk(net, x, gates="soft")


def test_kernel_is_symmetric_and_positive():
    net = gated(DenseBlocks(2))
    kernel = enumerated_npk(net, torch.randn(6, 3, dtype=torch.float64))
    torch.testing.assert_close(kernel, kernel.T)
    assert torch.linalg.eigvalsh(kernel).min() > -1e-10 * kernel.abs().max()
