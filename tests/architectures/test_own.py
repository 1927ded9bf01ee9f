"""Architectures of the user's own.

- A factory gets those of num_classes, input_shape, width and batch_norm that it takes, the last two
  only where they were asked for; a class is a factory, and so is what takes anything.
- What is no factory, needs more, fails, or gives no network is refused, with what was expected, got
  and the repair. A network itself is copied where parameters are to be put in.
"""

import sys

import pytest
import torch
from torch import nn

from dualview.architectures.own import make, options_of, own_factory, own_model
from dualview.errors import ArchitectureError

TEXT = """
from torch import nn

def everything(num_classes, input_shape, width=4, batch_norm=False):
    net = nn.Linear(input_shape[0] * width, num_classes)
    net.given = (num_classes, input_shape, width, batch_norm)
    return net

def two(num_classes, input_shape):
    return nn.Linear(input_shape[0], num_classes)

def anything(**options):
    net = nn.Identity()
    net.given = options
    return net

def none():
    return nn.Identity()

class Net(nn.Module):
    def __init__(self, classes=2):
        super().__init__()

def greedy(num_classes, depth): ...
def positional(num_classes, /): ...
def broken(): raise KeyError("k")
def no_network(): return 3

one = nn.Linear(2, 2)
number = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine.py").write_text(TEXT)
    return str(tmp_path / "mine.py")


SHAPE = (3, 8, 8)


def test_what_a_factory_gets(mine):
    assert own_model(f"{mine}:everything", 5, SHAPE).given == (5, SHAPE, 4, False)
    wide = own_model(f"{mine}:everything", 5, SHAPE, width=7, batch_norm=True)
    assert wide.given == (5, SHAPE, 7, True)
    assert own_model(f"{mine}:two", 5, SHAPE).weight.shape == (5, 3)
    assert own_model(f"{mine}:anything", 5, SHAPE).given == {"num_classes": 5, "input_shape": SHAPE}
    for name in ("none", "Net"):
        assert isinstance(own_model(f"{mine}:{name}", 5, SHAPE), nn.Module)


def test_options_of(mine):
    assert options_of(own_factory(f"{mine}:anything")) == options_of(
        own_factory(f"{mine}:everything")
    )
    assert options_of(own_factory(f"{mine}:Net")) == ()


def test_a_network_is_copied(mine):
    first, second = (own_model(f"{mine}:one", 5, SHAPE) for _ in range(2))
    assert first is not second
    assert torch.equal(first.weight, second.weight)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("greedy", "'depth' without a default"),
        ("positional", "'num_classes' without a default"),
        ("number", "expected a factory, .* got int"),
        ("one", "got one network, a Linear"),
        ("twoo", "got no such name; did you mean 'two'"),
    ],
)
def test_no_factory(mine, name, why):
    with pytest.raises(ArchitectureError, match=why):
        own_factory(f"{mine}:{name}")


@pytest.mark.parametrize(
    ("name", "why"),
    [("broken", "expected a network, got KeyError"), ("no_network", "torch.nn.Module, got int")],
)
def test_a_factory_that_fails(mine, name, why):
    with pytest.raises(ArchitectureError, match=why):
        own_model(f"{mine}:{name}", 5, SHAPE)


@pytest.mark.parametrize("where", ["mine.py", "mine", ":make", "mine:"])
def test_no_name(where):
    with pytest.raises(ArchitectureError, match="a file or module and a name in it"):
        own_factory(where)


def test_an_option_that_it_does_not_take(mine):
    with pytest.raises(ArchitectureError, match=r"width: expected none, .*leave it out"):
        own_model(f"{mine}:two", 5, SHAPE, width=3)


def test_make():
    assert make(nn.Identity, "Identity", {"num_classes": 3}) is not None
