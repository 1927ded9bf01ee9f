"""ATen calls written as a user would have: they compute the same, by names that the tables know.

In place where they were in place; what no table knows stays the ATen operation that it was.
"""

import operator

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

from dualview.conversion.capture.calls import call_of, written

X = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Of(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def rewritten(function):
    """The program of a function with each call written anew, and the targets of the calls."""
    program = torch.export.export(Of(function), (X.clone(),), strict=False)
    graph, made = fx.Graph(), {}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            made[node] = graph.placeholder(node.name)
        elif node.op == "output":
            graph.output(fx.map_arg(node.args[0], made.get))
        else:
            args, kwargs = (fx.map_arg(part, made.get) for part in (node.args, node.kwargs))
            is_aten = isinstance(node.target, torch._ops.OpOverload)
            made[node] = (
                written(call_of(node, args, kwargs, graph))
                if is_aten
                else graph.node_copy(node, made.get)  # picks one of several results
            )
    targets = [node.target for node in graph.nodes if node.op.startswith("call")]
    return fx.GraphModule(nn.Module(), graph), targets


CASES = {
    "relu": (F.relu, [torch.relu]),
    "relu6": (F.relu6, [F.relu6]),
    "hardtanh": (lambda x: F.hardtanh(x, -0.5, 2), [F.hardtanh]),
    "gelu": (lambda x: F.gelu(x, approximate="tanh"), [F.gelu]),
    "leaky in place": (lambda x: F.leaky_relu(x + 1, 0.2, inplace=True), None),
    "slice": (lambda x: x[:, 1:, ::2], None),
    "select": (lambda x: x[:, 1], [operator.getitem]),
    "max pool": (lambda x: F.max_pool2d(x, 2), None),
    "avg pool": (lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), None),
    "adaptive": (lambda x: F.adaptive_avg_pool2d(x, 2), None),
    "nearest": (lambda x: F.interpolate(x, scale_factor=2.0), [F.interpolate]),
    "bilinear": (lambda x: F.interpolate(x, size=(7, 7), mode="bilinear"), [F.interpolate]),
    "view": (lambda x: x.view(2, 48), ["view"]),
    "split": (lambda x: torch.split(x, [1, 2], 1)[1], None),
    "alpha": (lambda x: torch.add(x, x, alpha=3), [torch.add]),
    "softmax": (lambda x: torch.softmax(x, 1), None),
}


@pytest.mark.parametrize("case", CASES)
def test_same_numbers(case):
    function, targets = CASES[case]
    module, found = rewritten(function)
    got = module(X.clone())
    got = got[0] if isinstance(got, tuple | list) else got
    torch.testing.assert_close(got, function(X.clone()), rtol=0, atol=0)
    assert not any(isinstance(target, torch._ops.OpOverload) for target in found)
    if targets is not None:
        assert found == targets


def test_what_no_table_knows_stays():
    _, targets = rewritten(lambda x: torch.special.bessel_j0(x))
    assert isinstance(targets[0], torch._ops.OpOverload)
