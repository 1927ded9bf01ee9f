"""What modules hold beside their parameters.

- Every kind of change is found, by name, with what was there and what came.
- Putting back undoes it; nothing changed gives no changes.
- Values that are equal are no change.
"""

from collections import deque

import pytest
import torch
from torch import nn

from dualview.conversion.recording.state import State, holds_stand_in


def model():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    net[0].count, net[0].kept, net[0].few = 3, [1], deque([1], maxlen=2)
    net[0].named, net[0].seen, net[0].table = {"a": 1}, {1}, torch.zeros(2)
    net[0].tables = [torch.zeros(2)]
    return net


def register(net):
    net.register_buffer("mask", torch.ones(2))


CHANGES = {
    "number": (lambda net: setattr(net[0], "count", 4), ("self.0.count", 3, 4)),
    "list": (lambda net: net[0].kept.append(2), ("self.0.kept", [1, 2], 2)),
    "deque": (lambda net: net[0].few.append(2), ("self.0.few", deque([1, 2]), 2)),
    "dict": (lambda net: net[0].named.update(b=2), ("self.0.named", {"a": 1, "b": 2}, 2)),
    "set": (lambda net: net[0].seen.add(2), ("self.0.seen", {1, 2}, 2)),
    "new": (lambda net: setattr(net, "new", 1), ("self.new", None, 1)),
    "gone": (lambda net: delattr(net[0], "count"), ("self.0.count", 3, None)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_found_and_put_back(name):
    change, (path, old, new) = CHANGES[name]
    net = model()
    state = State(net)
    assert not list(state.changes())
    change(net)
    assert list(state.changes()) == [(path, old, new)]
    state.restore()
    assert not list(state.changes())
    assert (net[0].count, net[0].kept, net[0].few) == (3, [1], deque([1]))
    assert (net[0].named, net[0].seen, hasattr(net, "new")) == ({"a": 1}, {1}, False)


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net[0].table.add_(1),
        lambda net: net[0].tables[0].add_(1),
        lambda net: setattr(net[1], "running_mean", torch.ones(2)),
        register,
    ],
)
def test_tensors(change):
    net = model()
    state = State(net)
    change(net)
    assert len(list(state.changes())) == 1
    state.restore()
    assert not hasattr(net, "mask")


def test_equal_values_are_no_change():
    net = model()
    net[0].text = "a b"
    state = State(net)
    net[0].count, net[0].text = 3, " ".join(["a", "b"])
    assert not list(state.changes())


def test_parameters_and_modes_are_not_its_business():
    net = model()
    state = State(net)
    net.eval()
    net[0].weight = nn.Parameter(torch.ones(2, 2))
    assert not list(state.changes())


def test_no_stand_in():
    assert not holds_stand_in([1, {"a": torch.zeros(2)}])
