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


def bias():
    return nn.Parameter(torch.randn(4))


class Rows(nn.Module):
    """A dense layer whose weight lies the other way round, as Hugging Face's Conv1D."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = weight(), bias()

    def forward(self, h):
        return torch.addmm(self.bias, h, self.weight)


CASES = {
    "own layer": Model(lambda net, h: net.mid(h), mid=nn.Linear(4, 4)),
    "used twice": Model(lambda net, h: net.mid(torch.relu(net.mid(h))), mid=nn.Linear(4, 4)),
    "functional": Model(lambda net, h: F.linear(h, net.w), w=weight()),
    "turned": Model(lambda net, h: torch.addmm(net.b, h, net.w), w=weight(), b=bias()),
    "turned, in a module": Model(lambda net, h: net.rows(h), rows=Rows()),
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


def dense_weights(net):
    return [m.weight for m in net.weights_network.modules() if isinstance(m, nn.Linear)]


@pytest.mark.parametrize("case", ["turned", "turned, in a module"])
def test_turned_layers_of_a_program_are_drawn_as_dense_ones(case):
    model = CASES[case].double().eval()
    program = torch.export.export(model, (X,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    net = dv.disentangle(program, "dgn", example_input=X, seed=0)
    drawn, theirs = dense_weights(net), [p for p in model.parameters() if p.dim() == 2]
    assert len(drawn) == 3
    assert not any(d.shape == t.shape and torch.equal(d, t) for d in drawn for t in theirs)
    assert not any(torch.equal(d.t(), t) for d in drawn for t in theirs)


def test_turned_layers_are_drawn_as_the_model_draws_them():
    class Drawing(Model):
        def _init_weights(self, module):
            if isinstance(module, Rows):
                module.weight.copy_(torch.arange(16.0).view(4, 4))
                module.bias.copy_(torch.arange(4.0))

    model = Drawing(lambda net, h: net.rows(h), rows=Rows()).double().eval()
    net = dv.disentangle(model, "dgn", example_input=X, seed=0)
    drawn = net.weights_network.get_submodule("rows")
    assert isinstance(drawn, nn.Linear)
    assert torch.equal(drawn.weight, torch.arange(16.0, dtype=torch.float64).view(4, 4).t())
    assert torch.equal(drawn.bias, torch.arange(4.0, dtype=torch.float64))
    gating = net.gating_network.get_submodule("rows").weight
    assert torch.equal(gating, model.rows.weight.t())


def test_turned_weights_that_are_tied_stay_so():
    def step(net, h):
        return torch.addmm(net.b, h, net.w) + h @ net.w

    model = Model(step, w=weight(), b=bias()).double().eval()
    net = dv.disentangle(torch.export.export(model, (X,)), "dnn", example_input=X)
    torch.testing.assert_close(net(X), model(X), rtol=1e-12, atol=1e-12)
    assert "w" in dict(net.weights_network.named_parameters())


def test_names_are_kept():
    model = CASES["own layer"].double().eval()
    net = dv.disentangle(model, "dnn", example_input=X)
    names = {name for name, _ in net.weights_network.named_parameters()}
    assert {name for name, _ in model.named_parameters()} <= names
