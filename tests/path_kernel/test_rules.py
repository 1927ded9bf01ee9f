"""The table of rules.

- Every entry of `RULES` has a network here that uses it, and gives the oracle's kernels.
- Fixed weights on the input are constants: no expectation is taken over them.
- What a rule does not cover it refuses, naming the operation.
"""

import operator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.conversion.gates import apply_gate
from dualview.conversion.pooling import replay_switch
from dualview.conversion.weights_graph import one_row_of_ones, spread_over_batch
from dualview.errors import PathKernelError
from dualview.path_kernel.rules import RULES
from tests.conversion.test_verification import build_module
from tests.path_kernel.second_moments import second_moments

pytestmark = pytest.mark.filterwarnings("ignore::dualview.DualviewWarning")


class Around(nn.Module):
    """conv, gate, the operation under test, conv or dense, gate, dense."""

    def __init__(self, operation, dims=2):
        super().__init__()
        self.operation = operation
        self.dims = dims
        conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
        self.conv = conv(2, 4, 2)
        self.head = nn.LazyLinear(2)

    def forward(self, x):
        x = self.operation(F.relu(self.conv(x)))
        return self.head(x.flatten(1))


def shape_of(dims):
    return (2, 2, *[4, 4, 3][3 - dims :])


def half(x):
    return torch.chunk(x, 2, 1)


# Operations on (n, 4, h, w); the keys are those of the table.
FUNCTIONS = {
    apply_gate: F.relu,
    replay_switch: lambda x: F.max_pool2d(x, 2, 1),
    torch.clone: torch.clone,
    F.dropout: lambda x: F.dropout(x, 0.5, False),
    F.dropout1d: lambda x: F.dropout1d(x, 0.5, False),
    F.dropout2d: lambda x: F.dropout2d(x, 0.5, False),
    F.dropout3d: lambda x: F.dropout3d(x, 0.5, False),
    operator.mul: lambda x: 3 * x,
    torch.mul: lambda x: torch.mul(x, 0.5),
    torch.multiply: lambda x: torch.multiply(x, 0.5),
    "mul": lambda x: x.mul(2),
    "multiply": lambda x: x.multiply(2),
    operator.truediv: lambda x: x / 3,
    torch.div: lambda x: torch.div(x, 3),
    torch.true_divide: lambda x: torch.true_divide(x, 3),
    torch.divide: lambda x: torch.divide(x, 3),
    "div": lambda x: x.div(3),
    "divide": lambda x: x.divide(3),
    "true_divide": lambda x: x.true_divide(3),
    operator.neg: lambda x: -x + F.relu(x),
    torch.neg: lambda x: torch.neg(x) + F.relu(x),
    "neg": lambda x: x.neg() + F.relu(x),
    operator.add: lambda x: x + F.relu(x),
    operator.sub: lambda x: F.leaky_relu(x, 0.1) - 3 * x,
    torch.add: lambda x: torch.add(x, F.relu(x), alpha=2),
    torch.sub: lambda x: torch.sub(F.leaky_relu(x, 0.1), x, alpha=3),
    "add": lambda x: x.add(F.relu(x)),
    "sub": lambda x: F.leaky_relu(x, 0.1).sub(x, alpha=3),
    F.avg_pool1d: lambda x: F.avg_pool1d(x, 2),
    F.avg_pool2d: lambda x: F.avg_pool2d(x, 2, 1, 1),
    F.avg_pool3d: lambda x: F.avg_pool3d(x, 2),
    F.adaptive_avg_pool1d: lambda x: F.adaptive_avg_pool1d(x, 2),
    F.adaptive_avg_pool2d: lambda x: F.adaptive_avg_pool2d(x, 2),
    F.adaptive_avg_pool3d: lambda x: F.adaptive_avg_pool3d(x, 1),
    F.interpolate: lambda x: F.interpolate(x, size=(2, 5), mode="bilinear"),
    F.pad: lambda x: F.pad(x, (1, 0, 0, 2, 1, 1)),
    torch.mean: lambda x: torch.mean(x, (2, 3)),
    torch.sum: lambda x: torch.sum(x, (-1, -2), keepdim=True),
    "mean": lambda x: x.mean((2, 3)),
    "sum": lambda x: x.sum(dim=[2, 3]),
    operator.getitem: lambda x: x[:, 1:3, 1:, ::2],
    torch.chunk: lambda x: torch.cat(half(x)[::-1], 1),
    "chunk": lambda x: x.chunk(2, 1)[1],
    torch.split: lambda x: torch.cat(torch.split(x, [1, 3], 1)[::-1], 1),
    "split": lambda x: x.split(1, dim=-1)[1],
    torch.narrow: lambda x: torch.narrow(x, 1, 1, 2),
    "narrow": lambda x: x.narrow(dim=2, start=0, length=2),
    torch.roll: lambda x: torch.roll(x, (1, 1), (1, 3)),
    "roll": lambda x: x.roll(-1, dims=1),
    torch.flip: lambda x: torch.flip(x, (1, -1)),
    "flip": lambda x: x.flip(1, 2),
    torch.cat: lambda x: torch.cat([x, F.relu(x)], 1),
    torch.concat: lambda x: torch.concat([x, F.relu(x)], dim=1),
    torch.flatten: lambda x: torch.flatten(x, 1),
    "flatten": lambda x: x.flatten(start_dim=1),
    torch.reshape: lambda x: torch.reshape(x, (x.shape[0], -1)),
    "view": lambda x: x.view(x.size(0), -1).view(x.size(0), 4, x.shape[2], x.shape[3]),
    "reshape": lambda x: x.reshape(x.size(0), -1),
    torch.squeeze: lambda x: torch.squeeze(torch.squeeze(F.adaptive_avg_pool2d(x, 1), -1), -1),
    "squeeze": lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1),
    "size": lambda x: x.view(x.size(0), x.size(1) * x.size(2) * x.size(3)),
    "dim": lambda x: x * x.dim(),
    getattr: lambda x: x.view(x.shape[0], -1) * x.ndim,
    "contiguous": lambda x: x.contiguous(),
    "clone": lambda x: x.clone(),
    "detach": lambda x: x.detach(),
    "float": lambda x: x.float(),
    "double": lambda x: x.double(),
    "to": lambda x: x.to(torch.float64),
}
ELSEWHERE = {one_row_of_ones, spread_over_batch}
"""Nodes that only conversion makes: `test_ones_and_batch_norm`."""

FIXED = {F.conv1d: nn.Conv1d, F.conv2d: nn.Conv2d, F.conv3d: nn.Conv3d}
"""Functions whose weights are constants: `test_fixed_weights`."""

MODULES = [key for key in RULES if isinstance(key, type) and key not in ELSEWHERE]


SPECIAL = {
    nn.Linear: lambda: nn.Sequential(nn.Flatten(), nn.Linear(24, 3), nn.ReLU()),
    nn.ConstantPad1d: lambda: nn.ConstantPad1d(1, 0.0),
    nn.ConstantPad2d: lambda: nn.ConstantPad2d(1, 0.0),
    nn.ConstantPad3d: lambda: nn.ConstantPad3d(1, 0.0),
}


def dims_of(name):
    return next((d for d in (1, 2, 3) if name.endswith(f"{d}d")), 2)


def assert_exact(model, x):
    model = model.double()
    with torch.no_grad():
        model(x)
        net = dv.disentangle(model, "dgn", seed=0).eval()
        npk, ntk = second_moments(net, x, x)
        assert npk.abs().max() > 1e-12
        torch.testing.assert_close(dv.npk(net, x), npk, rtol=1e-10, atol=1e-300)
        torch.testing.assert_close(dv.expected_ntk(net, x), ntk, rtol=1e-10, atol=1e-300)


def test_every_rule_has_a_case():
    assert set(RULES) == set(MODULES) | set(FUNCTIONS) | set(FIXED) | ELSEWHERE


@pytest.mark.parametrize("key", FUNCTIONS, ids=lambda k: getattr(k, "__name__", k))
def test_functions_and_methods(key):
    dims = dims_of(getattr(key, "__name__", key))
    x = torch.randn(shape_of(dims), dtype=torch.float64)
    if key == "float":
        pytest.skip("a change to float32 cannot be compared in float64; see 'double'")
    assert_exact(Around(FUNCTIONS[key], dims), x)


@pytest.mark.parametrize("kind", MODULES, ids=lambda k: k.__name__)
def test_modules(kind):
    dims = dims_of(kind.__name__)
    module = SPECIAL[kind]() if kind in SPECIAL else build_module(kind)
    if kind is nn.SyncBatchNorm:
        pytest.skip("runs on several GPUs only; its rule is that of BatchNorm2d")
    x = torch.randn(shape_of(dims), dtype=torch.float64)
    assert_exact(Around(module, dims), x)


def test_ones_and_batch_norm():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).double()
    x = torch.randn(3, 3, dtype=torch.float64)
    for net in (
        dv.disentangle(model, "dnn").eval(),
        dv.disentangle(model, "dgn", weights_input="ones", seed=0).eval(),
    ):
        (g,) = net.gates(x)
        inputs = torch.ones_like(x) if net.weights_input == "ones" else x
        torch.testing.assert_close(dv.npk(net, x), inputs @ inputs.T / 3 * (g @ g.T / 4))


class FixedFirst(nn.Module):
    """Two convolutions with fixed weights, gated, then convolution and dense layer as usual."""

    def __init__(self, function, parameter=False, random_first=False, bias=False):
        super().__init__()
        dims = dims_of(function.__name__)
        self.function = function
        self.first = FIXED[function](2, 2, 1) if random_first else nn.Identity()
        weights = torch.randn(3, 1, *(2,) * dims), torch.randn(2, 3, *(1,) * dims)
        if parameter:
            self.one, self.two = map(nn.Parameter, weights)
        else:
            self.register_buffer("one", weights[0])
            self.register_buffer("two", weights[1])
        self.register_buffer("shift", torch.randn(2) if bias else None)
        self.conv, self.head = FIXED[function](2, 2, 2), nn.LazyLinear(2)

    def reset_parameters(self):
        """For parameters of its own; the modules in it draw theirs."""
        if isinstance(self.one, nn.Parameter):
            nn.init.normal_(self.one)
            nn.init.normal_(self.two)

    def forward(self, x):
        x = self.first(x)
        x = x[:, :1] - 2 * x[:, 1:]
        x = F.relu(self.function(x, self.one, padding=1))
        x = self.function(input=x, weight=self.two, bias=self.shift)
        return self.head(F.relu(self.conv(F.relu(x))).flatten(1))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("function", FIXED, ids=lambda function: function.__name__)
def test_fixed_weights(function, bias):
    x = torch.randn(shape_of(dims_of(function.__name__)), dtype=torch.float64)
    assert_exact(FixedFirst(function, bias=bias), x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parameter": True}, "its weights are a parameter given to a function"),
        ({"random_first": True}, "mix what weights or biases made random"),
    ],
)
def test_fixed_weights_that_are_none(options, message):
    model, x = FixedFirst(F.conv2d, **options), torch.randn(2, 2, 4, 4)
    model(x)
    with pytest.raises(PathKernelError, match=rf"^conv2d at .*{message}"):
        dv.npk(dv.disentangle(model, "dgn"), x)


class ShiftedPatches(nn.Module):
    """A convolution of fixed weights and a trained bias, ReLU, a dense layer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.randn(3, 2, 2, 2))
        self.bias, self.head = nn.Parameter(torch.randn(3)), nn.Linear(3, 2, bias=False)

    def reset_parameters(self):
        """The bias alone; the modules in it draw theirs."""
        nn.init.normal_(self.bias)

    def forward(self, x):
        return self.head(F.relu(F.conv2d(x, self.weight, self.bias)).mean((2, 3)))


def test_a_trained_bias_of_fixed_weights_is_a_bias():
    net, x = dv.disentangle(ShiftedPatches(), "dgn", seed=0), torch.randn(2, 2, 4, 4)
    (gates,) = net.gates(x)
    with torch.no_grad():
        features = (F.conv2d(x, net.weights_network.weight) * gates).mean((2, 3))
    torch.testing.assert_close(dv.npk(net, x), features @ features.T / 3)
    with pytest.raises(PathKernelError, match=r"^conv2d at .*its bias is a parameter"):
        dv.npk(net, x, biases=True)


@pytest.mark.parametrize("length", [1, 3])
def test_a_dense_layer_over_positions_is_refused_however_many_there_are(length):
    layers = (nn.Conv1d(2, 3, 2), nn.ReLU(), nn.Linear(length, 4), nn.Flatten(), nn.Linear(12, 2))
    net = dv.disentangle(nn.Sequential(*layers), "dgn", seed=0)
    with pytest.raises(PathKernelError, match=r"Linear \(module '2'\): it is applied at every pos"):
        dv.npk(net, torch.randn(2, 2, length + 1))


REFUSED = {
    "transposed": (lambda x: x.transpose(2, 3), "transpose"),
    "partial mean": (lambda x: x.mean(2), "other axes than all positions"),
    "picked position": (lambda x: x[:, :, 0], "single channels or positions"),
    "partial flatten": (lambda x: x.flatten(2), "flattens axes 2 to -1"),
    "reshaped": (lambda x: x.view(-1, 6, 6), r"it makes \(6, 6\)"),
    "batch cut": (lambda x: torch.chunk(x, 2)[0], "another axis than the channels"),
    "padded with ones": (lambda x: F.pad(x, (1, 1), value=1.0), "constant other than 0"),
    "stacked rows": (lambda x: torch.cat([x, x], 2), "another axis than the channels"),
    "squeezed image": (lambda x: x.squeeze(-1), "not a single position"),
    "layer norm": (lambda x: F.layer_norm(x, (3,)), "^replay_layer_norm at .* table of rules"),
    "attention": (lambda x: (x @ x.mT).softmax(-1) @ x, "^matmul at .* not in the table of rules"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_operation(case):
    operation, message = REFUSED[case]

    class Model(nn.Module):
        def forward(self, x):
            return operation(F.relu(x))

    with pytest.raises(PathKernelError, match=message) as caught:
        dv.npk(dv.disentangle(Model(), "dgn"), torch.randn(2, 4, 3, 3))
    assert "test_rules.py" in str(caught.value)
    assert "npk_features" in str(caught.value)
