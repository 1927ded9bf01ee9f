"""How large a network a config may ask for.

- Every reference architecture is made as its options say, if the file holds as much.
- Unknown names and options, and sizes far beyond the file or the memory, are refused at once; so
  are several inputs that are too large, or take too much on the way.
"""

import time

import pytest
from torch import nn

from dualview.architectures import build
from dualview.architectures.record import Architecture, architecture_of
from dualview.conversion.parameters import StoredTensor
from dualview.conversion.sharing.bounds import (
    bounded_architecture,
    bounded_example,
    bounded_inputs,
    check_example_inputs,
    check_example_shape,
)
from dualview.errors import SavedNetworkError
from tests.cases import DISTINCT, SMALL

from .saved import Net


def stored_of(model):
    state = model.state_dict()
    return {name: StoredTensor(tuple(tensor.shape), "F32") for name, tensor in state.items()}


@pytest.mark.parametrize("name", DISTINCT)
def test_made_again(name):
    width, shape = SMALL[name]
    model = build(name, num_classes=3, input_shape=shape, width=width)
    again = bounded_architecture(architecture_of(model), stored_of(model), shape)
    assert repr(again) == repr(model)
    assert not any(parameter.is_meta for parameter in again.parameters())
    fewer = dict(list(stored_of(model).items())[::2])
    with pytest.raises(SavedNetworkError, match="and the parameter file holds"):
        bounded_architecture(architecture_of(model), fewer, shape)


SHAPE = (3, 8, 8)
FILE = {f"t{k}": StoredTensor((100, 100), "F32") for k in range(20)}


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("os.system", {}, "expected one of fc, "),
        ("../fc", {}, "expected one of fc, "),
        ("fc", {"width": 10**9}, "parameters, and the parameter file holds 200,000 numbers"),
        ("fc", {"width": 10**30}, "cannot be made"),
        ("fc", {"depth": 10**9, "width": 1}, "asks for 1,000,000,000 layers"),
        ("fc", {"num_classes": 2**62}, "cannot be made|parameters"),
        ("fc", {"input_shape": [10**12, 10**12, 10**12]}, "cannot be made"),
        ("c4gap", {"widths": [1] * 21}, "asks for 21 layers"),
        ("c4gap", {"width": 10**6}, "and the parameter file holds"),
        ("c4gap", {"input_shape": 3}, "cannot be made"),
        ("c4gap", {"input_shape": []}, "cannot be made"),
        ("vconv", {"input_shape": [3, 8]}, "cannot be made"),
        ("fc", {"depth": None}, "cannot be made"),
        ("fc", {"width": 10**400}, "cannot be made"),
        ("c4gap", {"hidden": 3}, "cannot be made"),
        ("vgg16", {"input_shape": [3, 8, 8]}, "at least 16x16"),
    ],
)
def test_what_cannot_be_meant(name, options, match):
    start = time.monotonic()
    options = {"input_shape": SHAPE, "width": 4, **options}
    with pytest.raises(SavedNetworkError, match=match):
        bounded_architecture(Architecture(name, options), FILE, SHAPE)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ((3, 2**20, 2**20), "at most 268,435,456 numbers in one example"),
        ((3, 5000, 5000), "takes 800,000,000 numbers in one layer"),
        ((4, 8, 8), "cannot be made"),
        ((), "cannot be made"),
    ],
)
def test_examples_that_cannot_be_meant(shape, match):
    made = Architecture("c4gap", {"input_shape": [3, 8, 8], "width": 32})
    with pytest.raises(SavedNetworkError, match=match):
        bounded_architecture(made, FILE, shape)


@pytest.mark.parametrize("shape", [(2, 4, 4), (2, 800, 800)])
def test_examples_of_a_users_model(shape):
    model = Net()
    bounded_example(model, shape)
    assert model.training
    assert not any(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ((2, 11_000, 11_000), "takes 363,000,000 numbers in one layer"),
        ((3, 800, 800), "Net cannot be run on one example"),
        ((2, 2**20, 2**20), "at most 268,435,456 numbers in one example"),
    ],
)
def test_examples_that_no_users_model_is_run_on(shape, match):
    with pytest.raises(SavedNetworkError, match=match):
        bounded_example(Net(), shape)


def test_example_shapes():
    check_example_shape((3, 224, 224))
    with pytest.raises(SavedNetworkError, match="example_shape"):
        check_example_shape((2**29,))


class Outer(nn.Module):
    """Takes the square of its input's size."""

    def forward(self, x, y):
        return (x[:, :, None] * y[:, None, :]).sum(1)


def of_sizes(a, b):
    return {"tuple": [{"tensor": "float", "shape": [a]}, {"tensor": "float", "shape": [b]}]}


def test_several_inputs():
    start = time.perf_counter()
    bounded_inputs(Outer(), of_sizes(3, 4))
    bounded_inputs(Outer(), of_sizes(2**21, 2))
    with pytest.raises(SavedNetworkError, match="numbers in one operation"):
        bounded_inputs(Outer(), of_sizes(2**21, 2**8))
    with pytest.raises(SavedNetworkError, match="cannot be run on one example"):
        bounded_inputs(Net(), of_sizes(2**21, 2**8))
    with pytest.raises(SavedNetworkError, match="numbers in one example"):
        check_example_inputs(of_sizes(2**40, 1))
    assert time.perf_counter() - start < 10
