"""Which factory made a network.

- Every reference architecture says its name and every option, defaults too; built again from
  these, it has the same layers.
- The record survives copies; other modules have none, whatever their attributes are called.
"""

import copy
import inspect

import pytest
from torch import nn

from dualview.architectures import ARCHITECTURES, build
from dualview.architectures.record import Architecture, architecture_of, recorded
from tests.cases import SMALL


@pytest.mark.parametrize("name", SMALL)
def test_built_again(name):
    width, shape = SMALL[name]
    model = build(name, num_classes=3, input_shape=shape, width=width)
    made = architecture_of(copy.deepcopy(model))
    assert made.name == name
    assert set(made.options) == set(inspect.signature(ARCHITECTURES[name]).parameters)
    assert (made.options["num_classes"], made.options["width"]) == (3, width)
    assert repr(ARCHITECTURES[name](**made.options)) == repr(model)


def test_positional_options():
    made = recorded(lambda width, bias=True: nn.Linear(width, 1, bias=bias))(4)
    assert architecture_of(made) == Architecture("<lambda>", {"width": 4, "bias": True})


def test_no_record():
    model = nn.Linear(2, 1)
    assert architecture_of(model) is None
    model.architecture = "fc"
    assert architecture_of(model) is None
