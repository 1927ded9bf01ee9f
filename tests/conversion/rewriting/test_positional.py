"""Arguments by position.

- Every function and method of the tables is called in every spelling of its arguments (all by
  keyword, options by keyword, NumPy's names), and each gives one and the same graph.
- The network of each spelling is the model, and what reads its graph gives the same numbers.
- What is given by keyword alone, and what follows a gap, stays by keyword.
"""

import warnings

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

import dualview as dv
from dualview.conversion import operations as ops
from dualview.conversion.activations import GATE_OF_FUNCTION, GATE_OF_METHOD
from dualview.conversion.normalisation import channel_affine, group_centred
from dualview.conversion.rewriting.positional import make_positional
from dualview.conversion.spellings import functions_of, methods_of
from dualview.conversion.structure import outline
from dualview.conversion.tracing import trace
from dualview.errors import DualviewError

W = torch.randn(3, 4, dtype=torch.float64)

# Options after the data: of a (3, 4, 4, 4) value, or of the value that PREPARED makes of it.
OPTIONS = {
    "flatten": {"start_dim": 1, "end_dim": 2},
    "reshape": {"shape": (-1, 64)},
    "view": {"size": (-1, 64)},
    "permute": {"dims": (0, 2, 3, 1)},
    "transpose": {"dim0": 1, "dim1": 2},
    "swapaxes": {"axis0": 1, "axis1": 2},
    "swapdims": {"dim0": 1, "dim1": 2},
    "movedim": {"source": 1, "destination": 2},
    "moveaxis": {"source": 1, "destination": 2},
    "squeeze": {"dim": 2},
    "unsqueeze": {"dim": 2},
    "narrow": {"dim": 1, "start": 1, "length": 2},
    "select": {"dim": 1, "index": 2},
    "chunk": {"chunks": 2, "dim": 1},
    "unbind": {"dim": 1},
    "expand": {"size": (-1, 4, 4, 4)},
    "unflatten": {"dim": 1, "sizes": (2, 2)},
    "roll": {"shifts": 1, "dims": 1},
    "flip": {"dims": (1,)},
    "tile": {"dims": (1, 2, 1, 1)},
    "repeat": {"repeats": (1, 2, 1, 1)},
    "mean": {"dim": 1, "keepdim": True},
    "sum": {"dim": (2, 3)},
    "softmax": {"dim": 1},
    "cat": {"dim": 1},
    "concat": {"dim": 1},
    "stack": {"dim": 1},
    "avg_pool1d": {"kernel_size": 2, "stride": 1},
    "avg_pool2d": {"kernel_size": 2, "stride": 1},
    "avg_pool3d": {"kernel_size": 2, "stride": 1},
    "adaptive_avg_pool1d": {"output_size": 1},
    "adaptive_avg_pool2d": {"output_size": 1},
    "adaptive_avg_pool3d": {"output_size": 1},
    "pad": {"pad": (1, 1), "mode": "constant", "value": 0.0},
    "pixel_shuffle": {"upscale_factor": 2},
    "pixel_unshuffle": {"downscale_factor": 2},
    "fold": {"output_size": 5, "kernel_size": 2},
    "layer_norm": {"normalized_shape": (4, 4)},
    **{f"dropout{d}": {"p": 0.5, "training": False} for d in ("", "1d", "2d", "3d")},
    "leaky_relu": {"negative_slope": 0.2},
    "broadcast_to": {"size": (-1, 4, 4, 4)},
    "concatenate": {"dim": 1},
    "index_select": {"dim": 1, "index": torch.tensor([0, 2])},
    "clamp": {"min": -0.5, "max": 1.0},
    "clip": {"min": -0.5, "max": 1.0},
    "clamp_min": {"min": -0.5},
    "clamp_max": {"max": 0.5},
    "pow": {"exponent": 2},
    "threshold": {"threshold": -0.3, "value": 0.2},
    "_threshold": {"threshold": -0.3, "value": 0.2},
    "elu": {"alpha": 0.3},
}
OTHERS = {
    "split": ({"split_size_or_sections": 2, "dim": 1}, {"split_size": 2, "dim": 1}),
    "split_with_sizes": ({"split_sizes": (1, 3), "dim": 1},) * 2,
    "unfold": ({"kernel_size": 2}, {"dimension": 2, "size": 2, "step": 1}),
}
"""Options of the function, and of the method, where they differ."""
SECOND = {"add": "other", "sub": "other", "mul": "other", "multiply": "other", "div": "other"}
SECOND |= {"divide": "other", "true_divide": "other", "subtract": "other"}
PREPARED = {
    "squeeze": lambda h: h.mean(2, keepdim=True),
    "linear": lambda h: h.mean((2, 3)),
    "mm": lambda h: h.mean((2, 3)),
    "t": lambda h: h.mean((2, 3)),
    "matmul": lambda h: h.mean((2, 3)),
    "fold": lambda h: h.flatten(2),
    "avg_pool1d": lambda h: h.flatten(2),
    "dropout1d": lambda h: h.flatten(2),
    "avg_pool3d": lambda h: h.unsqueeze(1),
    "adaptive_avg_pool1d": lambda h: h.flatten(2),
    "adaptive_avg_pool3d": lambda h: h.unsqueeze(1),
}
FIRST = dict.fromkeys([torch.cat, torch.concat, torch.concatenate, torch.stack], "tensors")
FIRST |= {torch.split: "tensor"}

NAMED_OTHERWISE = {F.embedding, group_centred, channel_affine, torch.bmm}
"""Of tokens, written by the passes over a graph alone, or of a matrix for each example."""
KEYS = ops.LINEAR | ops.ADDITIVE | {"div", "mul", "matmul", "linear", "softmax", "layer norm"}

FUNCTIONS = sorted(
    {
        f
        for f in functions_of(KEYS) | set(GATE_OF_FUNCTION)
        if f.__module__ != "_operator" and f not in NAMED_OTHERWISE
    },
    key=str,
)
METHODS = sorted((methods_of(KEYS) - {"bmm"}) | set(GATE_OF_METHOD))


def options_of(name, function):
    if name in OTHERS:
        return OTHERS[name][0 if function else 1]
    if name in ("matmul", "mm"):
        return {"other" if name == "matmul" else "mat2": W.t()}
    if name == "linear":
        return {"weight": W, "bias": None}
    if name == "prelu":
        return {"weight": W[0, :1].clone()}
    if name in SECOND:
        return {SECOND[name]: 2.5}
    return OPTIONS.get(name, {})


def calls(target):
    """Each spelling of one call, as functions of a value; the first has all by position."""
    name = target if isinstance(target, str) else target.__name__
    options = options_of(name, not isinstance(target, str))
    values = tuple(options.values())
    if isinstance(target, str):
        return [
            lambda h: getattr(h, name)(*values),
            *([lambda h: getattr(h, name)(**options)] if options else []),
        ]
    first = FIRST.get(target, "input")

    def data(h):
        return [h, 2 * h] if first == "tensors" else h

    return [
        lambda h: target(data(h), *values),
        lambda h: target(data(h), **options),
        lambda h: target(**{first: data(h)}, **options),
        lambda h: target(**{**options, first: data(h)}),
    ]


class Spelt(nn.Module):
    """conv, ReLU, the call, flatten."""

    def __init__(self, call, prepare):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 1)
        object.__setattr__(self, "call", call)
        object.__setattr__(self, "prepare", prepare)

    def forward(self, x):
        out = self.call(self.prepare(torch.relu(self.conv(x))))
        return out if isinstance(out, tuple) else (out,)


def unpacked(target):
    """Of what gives several tensors, the first."""
    name = target if isinstance(target, str) else target.__name__
    several = name in ("chunk", "split", "unbind")
    return lambda call: (lambda h: call(h)[0]) if several else call


UNSPELT = {"to", "type_as", "view_as", "reshape_as", "expand_as", "cuda", "half", "bfloat16"}
UNSPELT |= {"float", "double", "cpu", "interpolate", "upsample", "t", "contiguous", "detach"}
TARGETS = [t for t in [*FUNCTIONS, *METHODS] if getattr(t, "__name__", t) not in UNSPELT]


@pytest.mark.parametrize(
    "target", TARGETS, ids=lambda t: f".{t}" if isinstance(t, str) else t.__name__
)
def test_every_spelling_gives_one_graph_that_is_the_model(target):
    name = target if isinstance(target, str) else target.__name__
    if name == "softmax" or target in (torch.einsum, torch.clone):
        pytest.skip("a softmax on the signal path is refused; the others take no options")
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    found = []
    for call in map(unpacked(target), calls(target)):
        torch.manual_seed(0)
        model = Spelt(call, PREPARED.get(name, lambda h: h)).double().eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net = dv.disentangle(model, "dnn", example_input=x)
            torch.testing.assert_close(net(x)[0], model(x)[0], rtol=1e-12, atol=1e-12)
        found.append(outline(net.weights_network) + outline(net.gating_network))
    assert all(lines == found[0] for lines in found)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda h: h.sum(1, True), lambda h: h.sum(axis=1, keepdims=True)),
        (lambda h: torch.mean(h, 1), lambda h: torch.mean(x=h, axis=1)),
        (lambda h: torch.add(h, h, alpha=3), lambda h: torch.add(input=h, other=h, alpha=3)),
    ],
)
def test_names_of_numpy_and_what_goes_by_keyword_alone(one, other):
    graphs = [trace(Spelt(call, lambda h: h)).graph for call in (one, other)]
    lines = [[(n.target, str(n.args), str(n.kwargs)) for n in graph.nodes] for graph in graphs]
    assert lines[0] == lines[1]


def test_after_a_gap_keywords_stay():
    graph = fx.Graph()
    x = graph.placeholder("x")
    node = graph.call_function(torch.mean, (), {"input": x, "keepdim": True})
    unknown = graph.call_function(torch.where, (), {"condition": x, "input": x, "other": x})
    make_positional(graph)
    assert (node.args, node.kwargs) == ((x,), {"keepdim": True})
    assert unknown.args == ()


def test_kernels_read_every_spelling_alike():
    class Model(nn.Module):
        def __init__(self, keyword):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)
            self.keyword = keyword

        def forward(self, x):
            h = torch.relu(self.a(x))
            if self.keyword:
                halves = torch.chunk(h, chunks=2, dim=1)
                h = torch.cat(tensors=halves[::-1], dim=1)
                return self.b(torch.flatten(input=h.reshape(shape=(-1, 6)), start_dim=1))
            first, second = torch.chunk(h, 2, 1)
            return self.b(torch.flatten(torch.cat((second, first), 1).reshape((-1, 6)), 1))

    x = torch.randn(3, 4, dtype=torch.float64)
    kernels = []
    for keyword in (False, True):
        torch.manual_seed(0)
        net = dv.disentangle(Model(keyword).double(), "dgn", seed=0)
        kernels.append(torch.stack([dv.npk(net, x), dv.expected_ntk(net, x)]))
    assert torch.equal(*kernels)


@pytest.mark.parametrize("how", ["floor", "trunc"])
def test_a_quotient_that_rounds_is_refused(how):
    model = Spelt(lambda h: torch.div(h, 2, rounding_mode=how), lambda h: h)
    with pytest.raises(DualviewError, match=rf"it rounds \({how}\), which is not affine"):
        dv.disentangle(model, "dnn")
