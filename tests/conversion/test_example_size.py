"""How large one example makes a network, told before anything is computed.

- Numbers of gates and values, the largest of them, and products by weights, of a convolutional
  network with a switch; the same from shapes as from a run; where shapes do not do, from a run.
- Work beyond a bound is refused with what is needed.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.conversion import example_size as module
from dualview.conversion.example_size import ExampleSize, example_size, refuse_beyond
from dualview.errors import PathKernelError


def network():
    return dv.disentangle(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * 3 * 3, 5),
        ),
        "dnn",
    )


@pytest.mark.parametrize("small", [0, 10_000], ids=["shapes", "run"])
def test_what_is_counted(small, monkeypatch):
    monkeypatch.setattr(module, "RUN_BELOW", small)
    size = example_size(network(), torch.randn(1, 2, 6, 6))
    convolution = 4 * 36
    values = 2 * 36 + convolution + convolution + 36 + 36 + 5  # gated; pooled; flattened
    products = convolution * 2 * 9 + 5 * 36
    assert size == ExampleSize(convolution + 36, values, convolution, products)


def test_where_shapes_do_not_do(monkeypatch):
    monkeypatch.setattr(module, "ShapeRun", None)  # as an operation that raises
    monkeypatch.setattr(module, "RUN_BELOW", 0)
    assert example_size(network(), torch.randn(1, 2, 6, 6)).gates == 4 * 36 + 36


def test_refused():
    refuse_beyond(100, 100, 1, PathKernelError, what="an example")
    with pytest.raises(PathKernelError, match=r"least 2,000 bytes for an example.* 3 s; got 100\."):
        refuse_beyond(100, 2000, 3, PathKernelError, what="an example")
