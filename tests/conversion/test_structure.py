"""Outlines of graphs.

- One outline for one architecture, whatever its parameters and mode are; another for another.
- Another operation, option, number, order or shape gives another outline.
- Parameters read by the forward itself appear with their shapes.
"""

import copy

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

from dualview.conversion.structure import outline, plain_options
from tests.cases import small_architecture


class Net(nn.Module):
    def __init__(self, function, layer=None, n=3):
        super().__init__()
        self.function = function
        self.layer = layer or nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.ones(n))

    def forward(self, x):
        return self.function(self.layer(x)) * self.scale


def lines(*args, **kwargs):
    return outline(fx.symbolic_trace(Net(*args, **kwargs)))


@pytest.mark.parametrize("name", ["fc", "vgg16", "resnet20"])
def test_parameters_do_not_count(name):
    first, second = (fx.symbolic_trace(small_architecture(name)) for _ in range(2))
    found = outline(first)
    assert found == outline(second) == outline(copy.deepcopy(first).eval())
    assert len(found) == len(first.graph.nodes)


def test_architectures_differ():
    names = ("fc", "vconv", "gconv", "c4gap", "vgg16")
    found = {tuple(outline(fx.symbolic_trace(small_architecture(name)))) for name in names}
    assert len(found) == len(names)


def test_parameters_of_the_forward():
    assert "get_attr scale" in lines(torch.relu)[3]
    assert lines(torch.relu)[3].endswith("(3,)")
    assert lines(torch.relu, n=3) != lines(torch.relu, n=1)


@pytest.mark.parametrize(
    "other",
    [
        (F.gelu,),
        (lambda x: F.leaky_relu(x, 0.2),),
        (lambda x: torch.relu(x) * 2,),
        (torch.relu, nn.Linear(4, 3, bias=False)),
        (torch.relu, nn.Linear(5, 3)),
        (torch.relu, nn.Conv1d(4, 3, 1)),
    ],
)
def test_other_networks(other):
    assert lines(*other) != lines(torch.relu)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nn.AvgPool2d(2), nn.AvgPool2d(2, count_include_pad=False)),
        (nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3, stride=2)),
        (nn.BatchNorm2d(2), nn.BatchNorm2d(2, eps=1e-3)),
        (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)),
    ],
)
def test_every_option_counts(one, other):
    assert lines(torch.relu, one) != lines(torch.relu, other)


def test_plain_options():
    module = nn.Conv2d(2, 3, (1, 3), padding=1)
    options = plain_options(module)
    assert options["kernel_size"] == (1, 3)
    assert not {"training", "weight", "_parameters"} & set(options)
    module.function = torch.relu
    assert plain_options(module) == options
