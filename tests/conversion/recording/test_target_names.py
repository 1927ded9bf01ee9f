"""Names that cannot be written in Python.

- A network whose modules and parameters have such names is the model, in every kind, and is saved.
- Fresh weights reach every parameter under such a name.
- A name stays if it can be written; two that would become one are refused.
"""

import io

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.conversion.recording.target_names import speakable
from dualview.errors import TracingError

NAMES = ["lambda", "None", "a'b", 'a"b', "a\\b", "a\nb", "{x}", "a b", "3x3", "é", "ﬁ", "graph"]


class Named(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.c = nn.Linear(4, 2)
        self.add_module(name, nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
        self.inner = nn.ModuleDict({name: nn.Linear(4, 4)})
        self.free = nn.ParameterDict({name: nn.Parameter(torch.randn(4))})
        self.name = name

    def reset_parameters(self):
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_()

    def forward(self, x):
        h = self.inner[self.name](getattr(self, self.name)(x))
        return self.c(torch.relu(h) * self.free[self.name])


@pytest.mark.parametrize("name", NAMES)
def test_networks_of_any_names(name):
    model = Named(name).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    net = dv.disentangle(model, "dnn", example_input=x)
    assert torch.equal(net(x), model(x))
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), model(x))
    fresh, again = (dv.disentangle(model, kind, seed=0) for kind in ("dgn", "dlgn"))
    assert torch.equal(fresh.gating_network(x)[0], net.gating_network(x)[0])
    drawn = dict(fresh.weights_network.named_parameters())
    given = {speakable(name): parameter for name, parameter in model.named_parameters()}
    assert drawn.keys() == given.keys()
    assert not any(torch.equal(drawn[key], given[key]) for key in drawn)
    others = dict(again.weights_network.named_parameters())
    assert all(torch.equal(drawn[key], others[key]) for key in drawn)


def test_names_that_can_be_written_stay():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    names = [name for name, _ in model.named_parameters()]
    assert [speakable(name) for name in names] == names
    assert [n for n, _ in dv.disentangle(model, "dgn").weights_network.named_parameters()] == names


def test_two_that_would_become_one_are_refused():
    model = nn.Sequential()
    model.add_module("in", nn.Linear(2, 2))
    model.add_module("in_", nn.ReLU())
    with pytest.raises(TracingError, match=r"'in' cannot be written in Python.*Repair"):
        dv.disentangle(model, "dnn")
