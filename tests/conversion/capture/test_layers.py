"""Operations on a model's parameters become layers, whoever wrote them.

A layer of PyTorch is called again under its own name, twice where it is used twice; what is written
by hand or by a library becomes one with the same parameters; the network equals the model.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dualview as dv

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Model(nn.Module):
    """Asks for a size, so that it is captured by export."""

    def __init__(self, step, **parts):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)
        for name, part in parts.items():
            setattr(self, name, part)
        self.step = step

    def forward(self, x):
        assert x.shape[-1] == 4
        return self.last(torch.relu(self.step(self, torch.relu(self.first(x)))))


def weight():
    return nn.Parameter(torch.randn(4, 4))


CASES = {
    "own layer": Model(lambda net, h: net.mid(h), mid=nn.Linear(4, 4)),
    "used twice": Model(lambda net, h: net.mid(torch.relu(net.mid(h))), mid=nn.Linear(4, 4)),
    "functional": Model(lambda net, h: F.linear(h, net.w), w=weight()),
    "batch norm": Model(lambda net, h: net.norm(h), norm=nn.BatchNorm1d(4)),
    "dropout": Model(lambda net, h: F.dropout(h, 0.5, net.training)),
}


@pytest.mark.parametrize("case", CASES)
def test_equal_and_of_layers(case):
    model = CASES[case].double().eval()
    net = dv.disentangle(model, "dnn", example_input=X)
    torch.testing.assert_close(net(X[:2]), model(X[:2]), rtol=1e-12, atol=1e-12)
    kinds = [type(m) for m in net.weights_network.modules() if list(m.parameters(recurse=False))]
    assert set(kinds) <= {nn.Linear, nn.BatchNorm1d}
    mine = {id(p) for p in net.weights_network.parameters()}
    assert len(mine) == len(list(model.parameters())), "one copy of each parameter"


def test_names_are_kept():
    model = CASES["own layer"].double().eval()
    net = dv.disentangle(model, "dnn", example_input=X)
    names = {name for name, _ in net.weights_network.named_parameters()}
    assert {name for name, _ in model.named_parameters()} <= names
