"""A network -> its config.

- A reference architecture is named, unless its layers were changed since or options cannot be
  written; then it counts as the user's own.
- Networks put together by hand, gates of the user's own or exchanged since, models whose class has
  no name that a config may hold, mixed types of numbers, and numbers that
  are not finite are refused.
"""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.architectures import ARCHITECTURES, fc
from dualview.architectures.record import Architecture
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.sharing.describing import saved_config
from dualview.errors import SavedNetworkError
from tests.cases import DISTINCT, SMALL

from .saved import own_net, small_fc


@pytest.mark.parametrize("name", DISTINCT)
def test_architectures_are_named(name):
    width, shape = SMALL[name]
    model = ARCHITECTURES[name](num_classes=3, input_shape=shape, width=width)
    config = saved_config(dv.disentangle(model.eval(), "dgn"))
    assert config.recipe.architecture.name == name
    assert config.recipe.architecture.options["input_shape"] == list(shape)
    assert (config.dtype, config.kind) == ("float32", "dgn")


def test_changed_layers():
    model = fc(3, (1, 2, 2), width=5, depth=3)
    model.append(nn.Linear(3, 2))
    assert saved_config(dv.disentangle(model)).recipe.architecture is None


def test_options_that_no_json_holds():
    model = fc(3, (1, 2, 2), width=5, depth=3)
    model.architecture = Architecture("fc", {**model.architecture.options, "width": 5.0})
    assert saved_config(dv.disentangle(model)).recipe.architecture is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_types(dtype):
    config = saved_config(small_fc().to(dtype))
    assert getattr(torch, config.dtype) is dtype
    assert config.recipe.architecture is not None


def refused(net, match):
    with pytest.raises(SavedNetworkError, match=match):
        saved_config(net)


def test_put_together_by_hand():
    net = small_fc()
    parts = (net.gating_network, net.weights_network, net.gate_functions)
    refused(GatedNetwork(*parts, "dlgn", "data", (0, 1)), "put together by hand")


def test_gates_of_the_users_own():
    class Steep(dv.SoftGate):
        pass

    refused(small_fc("dgn", gate=Steep()), "got Steep, which only its own code makes again")


def test_gates_exchanged_since():
    net = small_fc("dgn")
    net.gate_functions[1] = dv.HardGate()
    refused(
        net, r"gate_functions\[1\]: expected .*SoftGate.*, as disentangle was told, got .*HardGate"
    )


def test_a_class_without_a_name():
    layers = (nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    refused(dv.disentangle(type("my net", (nn.Sequential,), {})(*layers)), "the name of a class")


def test_mixed_types():
    net = small_fc()
    net.gating_network.float()
    refused(net, "of one type .*, got float32, float64")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_not_finite(value):
    net = own_net()
    with torch.no_grad():
        net.weights_network.out.bias[0] = value
    refused(net, "weights_network.out.bias: expected finite numbers")


def test_too_large_an_example():
    net = small_fc()
    object.__setattr__(net.recipe, "example_shape", (2**29,))
    refused(net, "example_shape")
