"""The example input: what counts as one, its shapes, and graphs that differ from their model."""

import copy

import pytest
import torch
from torch import fx, nn

from dualview.conversion.example_input import Example, compare, outputs_of, shapes_in
from dualview.errors import ExampleInputError, TracingError


@pytest.mark.parametrize(
    ("given", "shape", "count"),
    [
        (torch.ones(2, 3), (3,), 1),
        ((torch.ones(2, 3), torch.ones(2, 4)), None, 2),
        ({"x": torch.ones(2, 3)}, (3,), 1),
        (torch.ones(5, dtype=torch.long), (), 1),
    ],
)
def test_of(given, shape, count):
    found = Example.of(given)
    assert (found.shape, len(found.tensors)) == (shape, count)


@pytest.mark.parametrize("given", [3, "x", (), {1: torch.ones(2, 2)}, torch.ones(3), [1, 2]])
def test_of_nothing(given):
    with pytest.raises(ExampleInputError, match="example_input: expected"):
        Example.of(given)


def test_copies_have_their_own_memory():
    x = torch.ones(1, 3)
    copied = Example.of(x).copied().tensors[0]
    copied.zero_()
    assert x.sum() == 3
    assert Example.of(x).of_several().tensors[0].shape == (2, 3)


def test_shapes_and_the_operation_that_fails():
    module = fx.symbolic_trace(nn.Sequential(nn.Linear(3, 4), nn.ReLU()))
    shapes = shapes_in(module, Example.of(torch.ones(2, 3)))
    assert [tuple(shape) for shape in shapes.values()] == [(2, 3), (2, 4), (2, 4), (2, 4)]
    with pytest.raises(ExampleInputError, match=r"'0'.*shape \(2, 5\)"):
        shapes_in(module, Example.of(torch.ones(2, 5)))
    assert outputs_of(nn.Linear(3, 4), Example.of(torch.ones(2, 5))) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_graph_that_differs(dtype):
    model = nn.Linear(3, 2).to(dtype)
    traced, example = (
        fx.symbolic_trace(copy.deepcopy(model)),
        Example.of(torch.ones(2, 3).to(dtype)),
    )
    compare("net", traced, None, outputs_of(model, example), example)
    with torch.no_grad():
        traced.weight[0, 0] += 0.1
    with pytest.raises(TracingError, match=r"^net: the traced graph and the model give different"):
        compare("net", traced, None, outputs_of(model, example), example)
