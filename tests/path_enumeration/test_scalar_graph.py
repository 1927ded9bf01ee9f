"""Networks spelled out entry by entry.

- Every operation in the tables of affine modules gives the edges that autograd's Jacobians give, in
  its input and in its weights; so do functions, constants, several inputs and reshaped parameters.
- Padding that repeats an entry within one window, shared modules and grouped weights are listed.
- The network is never changed.
- What is not a sum of weight x entry is refused, by node, with the repair.
"""

import operator

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

from dualview.conversion import operations as ops
from dualview.conversion.gates import apply_gate
from dualview.conversion.own_type import OwnType
from dualview.errors import UnsupportedOperationError
from dualview.path_enumeration.edges import Entry
from dualview.path_enumeration.scalar_graph import scalar_graph
from tests.cases import enliven
from tests.conversion.test_tracing import assert_unchanged, snapshot

MODULES = {
    nn.Linear: ((4, 3), (2, 4)),
    nn.Flatten: ((), (2, 3, 2)),
    nn.Unflatten: ((1, (2, 2)), (4, 3)),
    nn.Upsample: ((None, 2, "nearest"), (2, 2, 2)),
    nn.UpsamplingNearest2d: ((None, 2), (2, 2, 2)),
    nn.UpsamplingBilinear2d: ((None, 2), (1, 3, 3)),
    nn.PixelShuffle: ((2,), (4, 2, 2)),
    nn.PixelUnshuffle: ((2,), (1, 4, 2)),
    nn.ChannelShuffle: ((2,), (4, 2, 2)),
    nn.Fold: (((3, 3), (2, 2)), (4, 4)),
    nn.Unfold: (((2, 2),), (2, 3, 3)),
    OwnType: ((torch.float64,), (2, 3)),
}


def module_and_shape(kind):
    if kind in MODULES:
        arguments, shape = MODULES[kind]
        return kind(*arguments), shape
    dims = int(kind.__name__[-2]) if kind.__name__[-1] == "d" else 2
    shape = (2, *(3, 4, 2)[:dims])
    if "BatchNorm" in kind.__name__:
        return kind(2), shape
    if "Conv" in kind.__name__:
        return kind(2, 4, 2, stride=2, padding=1, groups=2), shape
    if "Constant" in kind.__name__:
        return kind(1, 0.7), shape
    if "Pad" in kind.__name__ or "Adaptive" in kind.__name__:
        return kind(1), shape
    if "AvgPool" in kind.__name__:
        return kind(2, 1), shape
    return kind(), shape


def one_module(module, example):
    """A weights network of one module, and its inputs."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_module("module", (x,)))
    network = fx.GraphModule({"module": module.double().eval()}, graph)
    return network, {"x": example}


class Tracing(fx.Tracer):
    def is_leaf_module(self, m, name):
        return True


def traced(model, *shape):
    """A weights network made from a module whose forward takes x, and its inputs."""
    model = model.double().eval()
    network = fx.GraphModule(model, Tracing().trace(model))
    return network, {"x": torch.zeros(1, *shape, dtype=torch.float64)}


def evaluate(graph, x, parameters, inputs=None):
    """The listed sum at x (1, ...), by plain recursion in tensors that autograd follows."""
    known = {Entry("x", i): value for i, value in enumerate(x.flatten())}
    for entry, edges in graph.edges.items():
        total = torch.zeros((), dtype=torch.float64)
        for edge in edges:
            weight = 1 if edge.weight is None else parameters[edge.weight[0]][edge.weight[1]]
            source = 1 if edge.source is None else known[edge.source]
            gate = 1 if edge.gate is None else inputs[edge.gate.site][0][edge.gate.coordinates]
            total = total + edge.coefficient * weight * gate * source
        known[entry] = total
    return torch.stack([known[entry] for entry in graph.outputs])


def assert_listed(network, inputs):
    graph = scalar_graph(network, inputs)
    x = torch.randn_like(inputs["x"])
    parameters = {name: p.detach() for name, p in network.named_parameters()}

    def run(x, *weights):
        state = dict(zip(parameters, weights, strict=True))
        return torch.func.functional_call(network, state, (x,)).flatten()

    def listed(x, *weights):
        return evaluate(graph, x, dict(zip(parameters, weights, strict=True)))

    arguments = (x, *parameters.values())
    torch.testing.assert_close(listed(*arguments), run(*arguments))
    expected = torch.autograd.functional.jacobian(run, arguments)
    got = torch.autograd.functional.jacobian(listed, arguments)
    module = getattr(network, "module", None)
    for name, a, b in zip(("x", *parameters), got, expected, strict=True):
        if not (name == "module.weight" and isinstance(module, ops.BATCH_NORM_MODULES)):
            # Batch norm's scale is a constant here, no weight.
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", ops.LINEAR_MODULES, ids=lambda kind: kind.__name__)
def test_every_affine_module(kind):
    module, shape = module_and_shape(kind)
    assert_listed(*one_module(enliven(module), torch.zeros(1, *shape, dtype=torch.float64)))


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
@pytest.mark.parametrize("size", [2, 3])
def test_padding_that_repeats_an_entry_within_a_window(mode, size):
    conv = nn.Conv1d(1, 2, 3, padding=1, padding_mode=mode)
    network, inputs = one_module(conv, torch.zeros(1, 1, size, dtype=torch.float64))
    assert_listed(network, inputs)
    edges = scalar_graph(network, inputs).edges
    assert all(len(terms) == 3 + 1 for terms in edges.values())


class Functions(nn.Module):
    """Functional layers, a bias and a scale that are reshaped, tuples, constants, two branches."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(2, 1, 2, 2))
        self.bias = nn.Parameter(torch.randn(2))
        self.scale = nn.Parameter(torch.randn(2))
        self.matrix = nn.Parameter(torch.randn(8, 3))
        self.register_buffer("fixed", torch.randn(2, 2, 2))

    def forward(self, x):
        y = F.conv2d(x, self.kernel) * self.scale.view(1, -1, 1, 1) + self.bias.view(-1, 1, 1)
        a, b = torch.chunk(y, 2, 1)
        y = torch.cat([b - 2 * a, a + 3], 1) * self.fixed
        y = y.permute(0, 2, 3, 1) / 2
        return y.reshape(x.size(0), -1) @ self.matrix


class Tied(nn.Module):
    """One module used twice in a row, and one parameter under two names."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 2)
        self.b = nn.Linear(2, 2)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(self.a(self.a(x)))


def test_functions_constants_and_reshaped_parameters():
    assert_listed(*traced(Functions(), 1, 3, 3))


def test_tied_weights_have_one_name():
    network, inputs = traced(Tied(), 2)
    assert_listed(network, inputs)
    names = {e.weight.parameter for t in scalar_graph(network, inputs).edges.values() for e in t}
    assert names == {"a.weight", "a.bias", "b.bias"}


@pytest.mark.parametrize(
    ("mode", "scaled", "shifted"), [("model", 1, 1), ("scale", 1, 0), ("identity", 0, 0)]
)
def test_batch_norm_has_a_constant_scale(mode, scaled, shifted):
    norm = enliven(nn.BatchNorm1d(3))
    network, inputs = one_module(norm, torch.zeros(1, 3, dtype=torch.float64))
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    for i, edges in enumerate(scalar_graph(network, inputs, mode).edges.values()):
        by_source = {(e.source, e.weight and e.weight.parameter): e.coefficient for e in edges}
        expected = {(Entry("x", i), None): float(scale[i]) if scaled else 1.0}
        expected[None, "module.bias"] = 1.0
        if shifted:
            expected[None, None] = -float(scale[i] * norm.running_mean[i])
        assert by_source == pytest.approx(expected, rel=1e-12)


def test_gates_multiply_entry_by_entry():
    graph = fx.Graph()
    x, gate = graph.placeholder("x"), graph.placeholder("gate_1")
    graph.output(graph.call_function(apply_gate, (x, gate)))
    network = fx.GraphModule({}, graph)
    inputs = {name: torch.randn(1, 2, 3).double() for name in ("x", "gate_1")}
    value = torch.randn(1, 2, 3).double()
    listed = evaluate(scalar_graph(network, inputs), value, {}, inputs)
    torch.testing.assert_close(listed, (value * inputs["gate_1"]).flatten())


def test_the_network_is_not_changed():
    network, inputs = traced(Functions(), 1, 3, 3)
    before = snapshot(network)
    scalar_graph(network, inputs, "identity")
    assert_unchanged(network, before)


class Calls(nn.Module):
    """A function of x, and of a parameter `w`."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.w = nn.Parameter(torch.randn(3))

    def forward(self, x):
        return self.function(x, self.w)


REFUSED = {
    "relu": lambda x, w: F.relu(x),
    "softmax": lambda x, w: torch.softmax(x, -1),
    "mul": lambda x, w: operator.mul(x, x),
    "pow": lambda x, w: x * w**2,
    "abs": lambda x, w: x + w.abs(),
    "layer_norm": lambda x, w: F.layer_norm(x, (3,)),
    "max": lambda x, w: x.amax(1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_operations_are_refused(name):
    network, inputs = traced(Calls(REFUSED[name]), 3)
    with pytest.raises(UnsupportedOperationError, match=r"cannot be spelled out.*npk_features"):
        scalar_graph(network, inputs)


def test_batch_norm_without_statistics_is_refused():
    norm = nn.BatchNorm2d(1, track_running_stats=False)
    network, inputs = one_module(norm, torch.zeros(1, 1, 2, 2, dtype=torch.float64))
    with pytest.raises(UnsupportedOperationError, match="BatchNorm2d"):
        scalar_graph(network, inputs)


def test_several_outputs_are_refused():
    network, inputs = traced(Calls(lambda x, w: (x, x)), 3)
    with pytest.raises(UnsupportedOperationError, match="expected one tensor"):
        scalar_graph(network, inputs)
