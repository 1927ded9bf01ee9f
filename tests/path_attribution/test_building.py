"""What rules know of a graph.

- Data are the tensors, and tuples of them, that depend on the input; sizes, gates and parameters
  are not.
- Labels and shapes leave the axis of examples out; learnt constants are told from fixed ones.
- A node is run on other data through tuples of tensors, sizes as they were.
"""

import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv
from dualview.path_attribution.building import (
    ProgramBuilder,
    data_nodes,
    recorded_values,
    without_example,
)
from dualview.path_attribution.example import one_example


class Halves(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([2.0]))
        self.register_buffer("fixed", torch.tensor([3.0]))

    def forward(self, x):
        a, b = torch.chunk(F.relu(x), 2, 1)
        x = torch.cat([b, a], 1).view(x.size(0), -1)
        return x * (self.scale * 2) + self.fixed


def builder():
    net = dv.disentangle(Halves(), "dnn")
    return ProgramBuilder(one_example(net, torch.randn(1, 2, 2)))


def node(made, name):
    return next(node for node in made.example.network.graph.nodes if node.name == name)


def test_data_are_tensors_and_tuples_that_depend_on_the_input():
    made = builder()
    values = recorded_values(made.example)
    data = [n.name for n in data_nodes(made.example.network.graph, values)]
    assert "size" not in data
    assert "gate_1" not in data
    assert data[:3] == ["x", "apply_gate", "chunk"]
    assert made.is_tensor(node(made, "cat"))
    assert not made.is_data(node(made, "chunk"))
    assert not made.is_data(3)
    assert node(made, "chunk") not in made.data_tensors()


def test_labels_and_learnt_constants():
    made = builder()
    label = made.label(node(made, "apply_gate"), "gate", "gate_1")
    assert (label.layer, label.kind, label.shape) == ("gate_1", "gate", (2, 2))
    assert made.is_learnt(node(made, "mul"))  # scale * 2
    assert not made.is_learnt(node(made, "fixed"))
    assert not made.is_learnt(2.0)
    assert made.array(node(made, "fixed"), (1, 4)).tolist() == [3.0] * 4
    assert without_example((1, 5)) == (5,)
    assert without_example((4, 5)) == (4, 5)


def test_a_node_on_other_data():
    made = builder()
    second = node(made, "getitem_1")
    (source,) = made.sources(second)
    assert source.name == "apply_gate"
    assert [n.name for n in made.sources(node(made, "cat"))] == ["getitem_1", "getitem"]
    labels = torch.arange(4.0).reshape(1, 2, 2)
    assert made.run_on(second, {source: labels}).tolist() == [2.0, 3.0]
    assert torch.equal(labels, torch.arange(4.0).reshape(1, 2, 2))
