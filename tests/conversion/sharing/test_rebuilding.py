"""A config -> the network it describes.

- Rebuilt networks have the outline, type, gates and order of the saved ones, for every kind.
- A user's model is copied, not changed, need not know how to draw itself, and must fit: another
  kernel, width or activation is named by the first operation that differs.
- Random numbers and warnings of the caller are left alone.
"""

import copy
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.conversion.gates import LeakyGate
from dualview.conversion.parameters import StoredTensor
from dualview.conversion.promises import Kind
from dualview.conversion.sharing.describing import saved_config
from dualview.conversion.sharing.rebuilding import network_outline, rebuilt
from dualview.errors import SavedNetworkError

from .saved import Net, own_net, small_c4gap, small_fc


def again(net, model=None, **changes):
    config = replace(saved_config(net), **changes)
    stored = {name: StoredTensor(tuple(t.shape), "") for name, t in net.state_dict().items()}
    return rebuilt(config, stored, model)


@pytest.mark.parametrize("kind", Kind.__args__)
def test_made_again(kind):
    net = small_fc(kind)
    found = again(net)
    assert network_outline(found) == network_outline(net)
    assert (found.kind, found.gate_order) == (kind, net.gate_order)
    assert found.recipe.architecture.name == net.recipe.architecture.name
    for (name, mine), (theirs, tensor) in zip(
        found.state_dict().items(), net.state_dict().items(), strict=True
    ):
        assert (name, mine.shape, mine.dtype) == (theirs, tensor.shape, tensor.dtype)
    assert not any(module.training for module in found.modules())


@pytest.mark.parametrize(
    "options",
    [
        {"gate": "hard"},
        {"gate": dv.SoftGate(3.0, 0.1)},
        {"gate": LeakyGate(0.2)},
        {"weights_input": "ones"},
        {"gate_order": (1, 0)},
    ],
    ids=str,
)
def test_options(options):
    net = small_fc("dgn", **options)
    found = again(net)
    assert network_outline(found) == network_outline(net)
    assert (found.weights_input, found.gate_order) == (net.weights_input, net.gate_order)


@pytest.mark.parametrize("max_pool", ["average", "switch"])
def test_max_pools(max_pool):
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(2, 1, 2))
    net = dv.disentangle(model, "dgn", max_pool=max_pool)
    assert network_outline(again(net, model)) == network_outline(net)
    other = replace(net.recipe, max_pool={"average": "switch", "switch": "average"}[max_pool])
    with pytest.raises(SavedNetworkError, match="differs first"):
        again(net, model, recipe=other)


@pytest.mark.parametrize("kind", ["dnn", "dgn", "dlgn"])
def test_a_users_model(kind):
    model = Net()
    before = copy.deepcopy(model.state_dict())
    net = own_net(kind)
    assert network_outline(again(net, model)) == network_outline(net)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert model.training


def test_a_model_is_asked_for():
    with pytest.raises(SavedNetworkError, match=r"class 'Net'.*from_pretrained\(\.\.\., model="):
        again(own_net())


def gelu(model):
    model.slope = nn.GELU()


def strided(model):
    model.conv.stride = (2, 2)


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (Net(kernel=1), r"expected .*Conv2d conv.*'kernel_size': \(3, 3\).*, got .*\(1, 1\)"),
        (Net(units=2), r"expected .*Linear out.*, got .*'out_features': 2"),
        (gelu, "expected .*PReLU slope.*, got .*GELU slope"),
        (strided, "saved with dualview .*, torch "),
        (nn.Sequential(nn.Flatten(), nn.Linear(3, 3)), "cannot be taken apart"),
    ],
)
def test_other_models(other, match):
    model = other
    if not isinstance(other, nn.Module):
        model = Net()
        other(model)
    with pytest.raises(SavedNetworkError, match=match):
        again(own_net(), model)


def test_an_example_too_large_for_a_users_model():
    net = own_net()
    recipe = replace(net.recipe, example_shape=(2, 11_000, 11_000))
    with pytest.raises(SavedNetworkError, match="takes 363,000,000 numbers in one layer"):
        again(net, Net(), recipe=recipe)


def test_a_shorter_graph():
    net = small_fc()
    graph = saved_config(net).graph
    with pytest.raises(SavedNetworkError, match="got nothing more"):
        again(net, graph=(*graph, "gate 9: HardGate"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"gate_order": (0, 0)},
            "cannot be taken apart as the config says: gate_order",
        ),
        ({"gate_order": (0,)}, "is another model than the saved network's, which has 1 gated"),
        ({"weights_input": "ones"}, "differs first"),
    ],
)
def test_options_that_do_not_fit(changes, message):
    with pytest.raises(SavedNetworkError, match=message):
        again(small_fc(), **changes)


def test_nothing_of_the_callers_changes():
    net = small_c4gap("dlgn", weights_input="ones")  # which warned about its batch norm
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again(net)
    assert torch.equal(torch.get_rng_state(), before)
