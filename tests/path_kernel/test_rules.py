"""The table of rules.

- Every entry of `RULES` has a network here that uses it, and gives the oracle's kernels.
- Fixed weights are constants, on the input and behind weights: no expectation is taken over them.
- Weights that are parameters given to functions are drawn as a layer's are.
- What a rule does not cover it refuses, naming the operation.
"""

import operator

import pytest
import torch
from torch import nn
from torch.func import vmap
from torch.nn import functional as F

import dualview as dv
from dualview.conversion.gates import apply_gate
from dualview.conversion.normal_form import key_of, spellings_of
from dualview.conversion.pooling import replay_switch
from dualview.errors import PathKernelError
from dualview.path_kernel.rules import RULES
from tests.conversion.test_verification import build_module
from tests.path_kernel.second_moments import second_moments
from tests.path_kernel.test_tiny_graphs import FreshWeights

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


MATRIX = torch.tensor([[1.0, -2.0, 0.5], [0.3, 1.5, -1.0], [2.0, 0.7, 1.1]], dtype=torch.float64)


def half(x):
    return torch.chunk(x, 2, 1)


# Operations on (n, 4, h, w), of one spelling each; `test_normal_form` tries the others.
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
    "view_as": lambda x: x.flatten(1).view_as(x),
    "unflatten": lambda x: x.unflatten(1, (2, 2)),
    torch.squeeze: lambda x: torch.squeeze(torch.squeeze(F.adaptive_avg_pool2d(x, 1), -1), -1),
    "squeeze": lambda x: x[:, :, :1].squeeze(2),
    "unsqueeze": lambda x: x.unsqueeze(-1),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "transpose": lambda x: x.transpose(1, 3),
    "movedim": lambda x: x.movedim(1, 2),
    "select": lambda x: x.select(2, 1),
    torch.index_select: lambda x: torch.index_select(x, 1, torch.tensor([2, 0, 2])),
    "unbind": lambda x: x.unbind(2)[1],
    "repeat": lambda x: x.repeat(1, 1, 2, 1),
    "tile": lambda x: x.tile(1, 2, 1, 1),
    "expand": lambda x: x[:, :, :1].expand(-1, -1, 3, -1),
    "expand_as": lambda x: x[:, :1].expand_as(x),
    torch.stack: lambda x: torch.stack([x, F.relu(x)], 2),
    F.pixel_shuffle: lambda x: F.pixel_shuffle(x, 2),
    F.pixel_unshuffle: lambda x: F.pixel_unshuffle(x[:, :, :2, :2], 2),
    F.unfold: lambda x: F.unfold(x[:, :2], 2),
    F.fold: lambda x: F.fold(x.flatten(2)[:, :, :4], (3, 3), 2),
    "unfold": lambda x: x[:, :2].unfold(2, 2, 1),
    operator.matmul: lambda x: (x @ x.mT).softmax(-1) @ x,
    torch.einsum: lambda x: torch.einsum("nchw,hv->ncvw", x, MATRIX),
    F.linear: lambda x: F.linear(x.mT, MATRIX, MATRIX[0]),
    F.conv_transpose2d: lambda x: F.conv_transpose2d(x[:, :1], MATRIX[None, None]),
    F.layer_norm: lambda x: F.layer_norm(x.mT, (3,), MATRIX[0], MATRIX[1]),
    F.group_norm: lambda x: F.group_norm(x, 2, MATRIX.flatten()[:4]),
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
ELSEWHERE = {"ones", "spread", "embedding", "convolution", "group centred"}
ELSEWHERE |= {"marked", "replayed layer norm"}
"""Conversion's own, and what other tests here try."""

FIXED = {F.conv1d: nn.Conv1d, F.conv2d: nn.Conv2d, F.conv3d: nn.Conv3d}
"""Functions whose weights are constants: `test_fixed_weights`."""

MODULES = [
    kind
    for key in RULES
    for kind in spellings_of(key)
    if isinstance(kind, type) and kind is not nn.Embedding
]


SPECIAL = {
    nn.Linear: lambda: nn.Linear(2, 3),
    nn.PixelUnshuffle: lambda: nn.Sequential(nn.ZeroPad2d((0, 0, 1, 0)), nn.PixelUnshuffle(2)),
    nn.Fold: lambda: nn.Sequential(nn.Flatten(2), nn.ZeroPad1d((0, -2)), nn.Fold((3, 3), 2)),
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
    tried = {key_of(kind) for kind in MODULES}
    tried |= {key_of(kind) for kind in FUNCTIONS if kind not in (F.layer_norm, F.group_norm)}
    assert set(RULES) == tried | ELSEWHERE | {"channel affine", "t"}


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


@pytest.mark.parametrize("function", FIXED, ids=lambda function: function.__name__)
def test_fixed_weights_behind_random_ones(function):
    x = torch.randn(shape_of(dims_of(function.__name__)), dtype=torch.float64)
    assert_exact(FixedFirst(function, random_first=True), x)


@pytest.mark.parametrize("function", FIXED, ids=lambda function: function.__name__)
def test_parameters_given_to_functions_are_drawn(function):
    """As those of the modules that make the same calls."""

    class ByModules(FixedFirst):
        def __init__(self):
            super().__init__(function)
            dims, module = dims_of(function.__name__), FIXED[function]
            self.first_conv = module(1, 3, 2, padding=1, bias=False)
            self.second_conv = module(3, 2, 1, bias=False)
            assert len(self.one.shape) == dims + 2

        def forward(self, x):
            x = x[:, :1] - 2 * x[:, 1:]
            x = self.second_conv(F.relu(self.first_conv(x)))
            return self.head(F.relu(self.conv(F.relu(x))).flatten(1))

    x = torch.randn(shape_of(dims_of(function.__name__)), dtype=torch.float64)
    models = [FixedFirst(function, parameter=True).double(), ByModules().double()]
    for model in models:
        model(x)
    models[1].load_state_dict(models[0].state_dict(), strict=False)
    with torch.no_grad():
        models[1].first_conv.weight.copy_(models[0].one)
        models[1].second_conv.weight.copy_(models[0].two)
    nets = [dv.disentangle(model, "dnn") for model in models]
    for kernel in (dv.npk, dv.expected_ntk):
        torch.testing.assert_close(*(kernel(net, x) for net in nets), rtol=1e-12, atol=0)


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
    with torch.no_grad():
        ones = gates.mean((2, 3))  # the biases' own paths
    both = features @ features.T / 3 + ones @ ones.T / 3
    torch.testing.assert_close(dv.npk(net, x, biases=True), both)


class Tokens(nn.Module):
    """A table of tokens, positions, a block of attention, the first token's class."""

    def __init__(self):
        super().__init__()
        self.table, self.place = nn.Embedding(7, 4), nn.Parameter(torch.randn(3, 4))
        self.first = nn.Parameter(torch.randn(1, 1, 4))
        self.query, self.value = nn.Linear(4, 4), nn.Linear(4, 4)
        self.norm, self.wide = nn.LayerNorm(4), nn.Linear(4, 6)
        self.narrow, self.head = nn.Linear(6, 4), nn.Linear(4, 2)

    def reset_parameters(self):
        nn.init.normal_(self.place)
        nn.init.normal_(self.first)

    def forward(self, tokens):
        x = self.table(tokens) + self.place
        x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], 1)
        q, v = (
            layer(x).unflatten(-1, (2, 2)).transpose(1, 2) for layer in (self.query, self.value)
        )
        heads = (q @ q.mT).softmax(-1) @ v
        x = self.norm(x + heads.transpose(1, 2).flatten(2))
        x = self.norm(x + self.narrow(F.gelu(self.wide(x))))  # post-norm
        return self.head(x[:, 0])


@pytest.mark.parametrize("biases", [False, True])
def test_tokens(biases):
    """A small transformer: the mean of products of outputs under many fresh weights."""
    tokens = torch.tensor([[1, 2, 3], [4, 0, 6]])
    torch.manual_seed(0)
    net = dv.disentangle(Tokens().double(), "dnn", example_input=tokens).eval()
    got = dv.npk(net, tokens, biases=biases)
    fresh = FreshWeights(net, tokens, {"biases": biases})
    count = 20_000
    drawn = torch.randn(count, sum(s.numel() for s in fresh.shapes.values()), dtype=torch.float64)
    with torch.no_grad():
        outputs = vmap(lambda by: fresh.outputs(fresh.weights(by)), chunk_size=2000)(drawn)
    products = outputs[:, :, None] * outputs[:, None]
    error = (products.mean(0) - got).abs()
    assert (error < 4.5 * products.std(0) / count**0.5).all()


REFUSED = {
    "batch cut": (lambda x: torch.chunk(x, 2)[0], "another axis than the channels"),
    "one example": (lambda x: x - x[:1], "picks examples"),
    "turned examples": (lambda x: x.transpose(0, 1) + x.transpose(1, 0), "axis of the examples"),
    "rolled at once": (lambda x: x.roll(1), "all axes as one"),
    "folded": (lambda x: x.view(-1, 3, 3).view(x.shape), "does not keep the examples apart"),
    "mean of examples": (lambda x: x - x.mean(0, keepdim=True), "averages over the examples"),
    "transposed": (lambda x: F.relu(x.flatten(1).t()).t(), "axis of the examples"),
    "number of entries": (lambda x: x / x.numel(), "not in the table of rules"),
    "minus infinity": (lambda x: F.pad(x, (1, 1), value=-1e999), "pads with -inf"),
    "lists": (lambda x: x[:, [0, 1], [0, 1]], "several lists at once"),
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
