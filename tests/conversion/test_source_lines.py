"""Names and lines for messages.

- A node is described by its operation, its module's path and the user's own line, not a library's.
- What has no line (a plain nn.Sequential, the output) is described without one.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dualview.conversion.source_lines import (
    as_nodes,
    describe,
    operation_name,
    source_line,
    users_line,
)
from dualview.conversion.tracing import trace


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU())

    def forward(self, x):
        x = F.max_pool2d(self.inner(x), 1)
        return torch.relu(x.mT).mean(1)


def described(model):
    return [describe(node) for node in trace(model).graph.nodes if node.op.startswith("call")]


def test_descriptions():
    linear, relu, pool, transpose, function, method = described(Model())
    assert linear.startswith("Linear (module 'inner.0') at ")
    assert linear.endswith("x = F.max_pool2d(self.inner(x), 1)")
    assert relu.startswith("ReLU (module 'inner.1')")
    assert pool.startswith("max_pool2d at ")
    assert transpose.startswith("attribute .mT at ")
    assert function.startswith("relu at ")
    assert method.startswith("method .mean() at ")
    assert all("test_source_lines.py:" in text for text in (linear, pool, function, method))


def test_nothing_to_say():
    graph = trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU())).graph
    assert [describe(n) for n in graph.nodes if n.op == "call_module"] == [
        "Linear (module '0')",
        "ReLU (module '1')",
    ]
    output = next(node for node in graph.nodes if node.op == "output")
    assert source_line(output) == ""
    assert operation_name(output) == "output"


def test_line_of_an_exception_is_the_users():
    with pytest.raises(RuntimeError) as caught:
        torch.zeros(2) @ torch.zeros(3)
    assert users_line(caught.tb).endswith("torch.zeros(2) @ torch.zeros(3)")


def test_nodes_inside_arguments():
    graph = trace(Model()).graph
    nodes = list(graph.nodes)[:3]
    assert as_nodes(([nodes[0], (nodes[1],)], {"a": nodes[2]}, 5)) == nodes
