"""The normal form of a call, and one answer for every way to write a thing in every view.

- Every operation of conversion's tables has a key, and conversion's own operations have one too.
- Positional arguments, keywords, NumPy's names, methods and modules bind to the same arguments.
- Ways to write one thing by several operations (`test_spellings` has those by one) give one answer
  in all views: `npk`, `expected_ntk`, `npk_features`, `empirical_ntk`, `top_paths`,
  `layer_contributions`, the oracle's recursion and (in a DLGN) primal filters; and `npk` is the
  oracle's.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.conversion import normal_form
from dualview.conversion import operations as ops
from dualview.conversion.normal_form import KEYS, key_of, linear_call, normal_call, spellings_of
from dualview.conversion.tracing import trace
from dualview.path_enumeration import recursive_npk
from tests.cases import enliven, relative_error

pytestmark = pytest.mark.filterwarnings("ignore::dualview.DualviewWarning")


def test_every_operation_of_the_tables_has_a_key():
    assert ops.TENSOR_KEYS | ops.SHAPE_KEYS | ops.ALLOCATING | ops.BATCH_AXIS_MOVERS <= KEYS
    for key in KEYS:
        assert {key_of(target) for target in spellings_of(key)} == {key}


def bound(function):
    """The calls of a function of one tensor, as (key, its arguments but the first)."""
    model = Applied(lambda m, h: function(h))
    model.head = nn.Identity()
    nodes = [node for node in trace(model).graph.nodes if node.op != "output"]
    first = next(k for k, node in enumerate(nodes) if node.target is F.relu)
    call = normal_call(nodes[first + 1])
    name = next(iter(call.arguments))
    return call.key, {
        k: v for k, v in call.arguments.items() if k not in (name, "tensors", "input")
    }


BOUND = {
    "mean": [
        lambda h: h.mean((2, 3), True),
        lambda h: torch.mean(h, dim=(2, 3), keepdim=True),
        lambda h: torch.mean(input=h, axis=(2, 3), keepdims=True),
    ],
    "flatten": [
        lambda h: h.flatten(1),
        lambda h: torch.flatten(h, start_dim=1),
        nn.Flatten(),
    ],
    "transpose": [lambda h: h.mT, lambda h: h.swapaxes(-2, -1), lambda h: h.transpose(-2, -1)],
    "reshape": [lambda h: h.view(-1, 16), lambda h: h.reshape((-1, 16))],
    "add": [lambda h: h + 1, lambda h: torch.add(h, 1), lambda h: h.add(other=1)],
    "average pool": [nn.AvgPool2d(2), lambda h: F.avg_pool2d(h, 2, stride=2)],
}


@pytest.mark.parametrize("key", BOUND)
def test_arguments_are_bound_by_name(key):
    found = [bound(function) for function in BOUND[key]]
    assert found[0][0] == key
    assert all(other == found[0] for other in found)


class Sub(nn.Linear):
    """A layer of a type of the user's own."""


class Applied(nn.Module):
    """conv, ReLU, the operation on (n, 4, 2, 2), leaky ReLU, dense."""

    def __init__(self, use):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 1), nn.LazyLinear(2)
        self.dense, self.sub = nn.Linear(2, 2, bias=False), Sub(2, 2, bias=False)
        self.sub.weight = self.dense.weight
        self.register_buffer("factor", torch.tensor(0.5))
        self.plain = [nn.AvgPool2d(1), nn.Identity()]
        self.use = use

    def forward(self, x):
        h = self.use(self, F.relu(self.conv(x)))
        return self.head(F.leaky_relu(h, 0.1).flatten(1))


def in_list(m, h):
    for layer in m.plain:
        h = layer(h)
    return h


GROUPS = {
    "the same": {
        "h": lambda m, h: h,
        "+h": lambda m, h: +h,
        "type_as": lambda m, h: h.type_as(h),
        "to": lambda m, h: h.to(torch.float64),
        "double": lambda m, h: h.double(),
        "cpu": lambda m, h: h.cpu(),
        "clone": lambda m, h: torch.clone(h).contiguous(),
        "contiguous view": lambda m, h: h.contiguous().view(h.size(0), 4, 2, 2),
        "unsqueeze": lambda m, h: h.unsqueeze(1).squeeze(1),
        "[:, None]": lambda m, h: h[:, None][:, 0],
        "dropout": lambda m, h: F.dropout(h, 0.5, m.training),
        "split of one": lambda m, h: h.split(4, 1)[0],
        "twice turned": lambda m, h: h.permute(0, 2, 3, 1).permute(0, 3, 1, 2),
        "plain list": in_list,
        "module made in forward": lambda m, h: nn.Identity()(h),
    },
    "turned": {
        "transpose": lambda m, h: h.transpose(2, 3),
        "permute": lambda m, h: h.permute(0, 1, 3, 2),
        "swapaxes": lambda m, h: h.swapaxes(2, 3),
        "movedim": lambda m, h: torch.movedim(h, 2, 3),
        "mT": lambda m, h: h.mT,
        "stack": lambda m, h: torch.stack([h[:, :, 0], h[:, :, 1]], 3),
    },
    "swapped": {
        "chunk": lambda m, h: torch.cat(h.chunk(2, 1)[::-1], 1),
        "split": lambda m, h: torch.cat(torch.split(h, [2, 2], 1)[::-1], dim=1),
        "narrow": lambda m, h: torch.concat([h.narrow(1, 2, 2), h.narrow(1, 0, 2)], 1),
        "slices": lambda m, h: torch.cat([h[:, 2:], h[:, :2]], -3),
        "list": lambda m, h: h[:, [2, 3, 0, 1]],
        "roll": lambda m, h: h.roll(2, 1),
        "axes": lambda m, h: h.unflatten(1, (2, 2)).flip(1).flatten(1, 2),
    },
    "dense": {
        "module": lambda m, h: m.dense(h),
        "F.linear": lambda m, h: F.linear(h, m.dense.weight),
        "@": lambda m, h: h @ m.dense.weight.t(),
        "matmul": lambda m, h: torch.matmul(h, m.dense.weight.mT),
        "einsum": lambda m, h: torch.einsum("nchw,vw->nchv", h, m.dense.weight),
        "matrix first": lambda m, h: (m.dense.weight @ h.mT).mT,
        "subclass": lambda m, h: m.sub(h),
    },
    "half": {
        "/": lambda m, h: h / 2,
        "divide": lambda m, h: torch.divide(h, 2),
        "true_divide": lambda m, h: h.true_divide(2),
        "*": lambda m, h: 0.5 * h,
        "mul": lambda m, h: torch.mul(h, m.factor),
        "multiply": lambda m, h: h.multiply(other=torch.tensor(0.5)),
        "constant": lambda m, h: h * torch.full((1, 4, 1, 1), 0.5, dtype=torch.float64),
    },
    "gated": {
        "F.relu": lambda m, h: F.relu(h - h.mean(1, keepdim=True)),
        "method": lambda m, h: h.sub(torch.mean(h, 1, True)).relu(),
        "module": lambda m, h: nn.ReLU()(torch.sub(h, h.mean(dim=1, keepdim=True))),
    },
}
SPELLINGS = [(group, name) for group, spelt in GROUPS.items() for name in spelt]
_KNOWN = {}


def network(group, name, kind):
    """The converted network of one spelling; all of a group have the same weights."""
    torch.manual_seed(1)
    model = Applied(GROUPS[group][name]).double().eval()
    x = torch.randn(2, 1, 2, 2, dtype=torch.float64)
    model(x)
    model = enliven(model).eval()
    net = dv.disentangle(model, kind, example_input=x, seed=0).eval()
    torch.testing.assert_close(net(x), model(x)) if kind == "dnn" else None
    return net, x


def values_of_paths(net, x):
    return torch.tensor([path.value for path in dv.top_paths(net, x[:1], 0, 12).paths])


VIEWS = {
    "npk": lambda net, x: dv.npk(net, x, normalise=False),
    "expected_ntk": dv.expected_ntk,
    "npk_features": lambda net, x: dv.npk_features(net, x, 4, seed=1, per_draw=1),
    "empirical_ntk": dv.empirical_ntk,
    "top_paths": values_of_paths,
    "layer_contributions": lambda net, x: torch.as_tensor(
        dv.layer_contributions(net, x[:1], 0, 0).units
    ),
    "recursion": recursive_npk,
}


def answers(group, name):
    """All views of one spelling, once."""
    if (group, name) not in _KNOWN:
        net, x = network(group, name, "dnn")
        found = {view: function(net, x) for view, function in VIEWS.items()}
        linear, _ = network(group, name, "dlgn")
        found["filters"] = dv.primal_filters(linear, 1, x.shape[1:]).filters()
        _KNOWN[group, name] = found
    return _KNOWN[group, name]


@pytest.mark.parametrize(("group", "name"), SPELLINGS, ids=lambda part: part)
def test_one_answer_in_all_views(group, name):
    first = answers(group, next(iter(GROUPS[group])))
    found = answers(group, name)
    for view in found:
        assert found[view].abs().max() > 0
        torch.testing.assert_close(found[view], first[view], rtol=1e-9, atol=1e-12)
    assert relative_error(found["npk"], found["recursion"]) < 1e-10


def test_products_that_are_no_dense_layers():
    def depends(argument):
        return argument == "h"

    cube = torch.ones(2, 2, 2)
    for key, arguments in (
        ("matmul", {"input": "h", "other": cube}),
        ("matmul", {"input": "h", "other": "h"}),
        ("einsum", {"equation": "nab,cd->nabcd", "operands": ["h", cube[0]]}),
        ("einsum", {"equation": "nab,ab->n", "operands": ["h", cube[0]]}),
        ("einsum", {"equation": "nab,nab->n", "operands": ["h", "h"]}),
        ("add", {"input": "h", "other": 1}),
    ):
        call = normal_form.Call(key, arguments)
        assert linear_call(call, depends, lambda value: value) is None
