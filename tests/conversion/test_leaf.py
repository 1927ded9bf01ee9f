"""Properties proved here.

1. A leaf computes what its function does; traced, by position or by name, it is one node that calls
   it, whose outcome is the same.
2. Converting, copying and saving networks leaves nothing behind in torch.fx's tables, which every
   later trace would visit.
3. A saved network that is read again, and traced anew for it, has the same nodes.
"""

import copy
import io

import pytest
import torch
from torch import fx, nn
from torch.fx import _symbolic_trace

import dualview as dv
from dualview.conversion.leaf import leaf


@leaf
def shifted(x, y, by=1.0):
    """x + y + by, in steps."""
    return (x + y) + by


@pytest.mark.parametrize(
    "call",
    [
        lambda x: shifted(x, 2.0),
        lambda x: shifted(2.0, x, by=3.0),
        lambda x: shifted(2.0, y=x),
        lambda x: shifted(x, x.sin()),
    ],
)
def test_one_node(call):
    traced = fx.symbolic_trace(call)
    assert [n.target for n in traced.graph.nodes if n.op == "call_function"] == [shifted]
    x = torch.randn(3)
    assert torch.equal(traced(x), call(x))


def test_it_is_its_function():
    assert shifted(1.0, 2.0) == 4.0
    assert shifted.__doc__.startswith("x + y")
    assert shifted.__module__ == __name__


def networks():
    model = nn.Sequential(
        *(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 2))
    )
    for kind, options in (
        ("dnn", {}),
        ("dgn", {"max_pool": "switch"}),
        ("dlgn", {"weights_input": "ones"}),
    ):
        yield dv.disentangle(model, kind, example_input=torch.randn(1, 1, 4, 4), **options)


def saved(net):
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_nothing_is_left_behind():
    before = len(_symbolic_trace._wrapped_fns_to_patch)
    for net in networks():
        copy.deepcopy(net)
        saved(net)
    assert len(_symbolic_trace._wrapped_fns_to_patch) == before


def test_read_again():
    for net in networks():
        again = saved(net)
        for name in ("gating_network", "weights_network"):
            nodes = [
                [(node.op, node.target) for node in getattr(one, name).graph.nodes]
                for one in (net, again)
            ]
            assert nodes[0] == nodes[1]
        x = torch.randn(2, 1, 4, 4)
        assert torch.equal(net(x), again(x))
