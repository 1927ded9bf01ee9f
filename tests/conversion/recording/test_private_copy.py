"""The copy that conversion works on.

- Scripted parts, lazy and complex models, and weights that are made anew at each call are refused
  anywhere in a model, by name and with the repair.
- The repair of each is followed, and the model then converts to itself.
- Hooks, of modules and of parameters, are warned of, and not carried over.
- Shared modules and tied parameters stay shared.
"""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import dualview as dv
from dualview.errors import DualviewWarning, TracingError


def around(layer):
    return nn.Sequential(layer, nn.ReLU(), nn.Linear(4, 2))


def quietly(make, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(*args)


def pruned():
    return prune.l1_unstructured(nn.Linear(4, 4), "bias", 2)


def lazy():
    return quietly(nn.LazyLinear, 4)


def without_parametrization(layer):
    return parametrize.remove_parametrizations(layer, "weight")


def built(layer):
    quietly(layer, torch.zeros(1, 4))
    return layer


REMADE = {
    "weight_norm": (
        lambda: quietly(nn.utils.weight_norm, nn.Linear(4, 4)),
        r"remove_weight_norm\(layer, 'weight'\)",
        lambda layer: quietly(nn.utils.remove_weight_norm, layer),
    ),
    "spectral_norm": (
        lambda: nn.utils.spectral_norm(nn.Linear(4, 4)),
        r"remove_spectral_norm\(layer, 'weight'\)",
        nn.utils.remove_spectral_norm,
    ),
    "parametrized weight_norm": (
        lambda: parametrizations.weight_norm(nn.Linear(4, 4)),
        r"its 'weight' is parametrized.*remove_parametrizations\(layer, 'weight'\)",
        without_parametrization,
    ),
    "parametrized spectral_norm": (
        lambda: parametrizations.spectral_norm(nn.Linear(4, 4)),
        r"its 'weight' is parametrized",
        without_parametrization,
    ),
    "orthogonal": (
        lambda: parametrizations.orthogonal(nn.Linear(4, 4)),
        r"its 'weight' is parametrized",
        without_parametrization,
    ),
    "pruned": (pruned, r"masks its 'bias'", lambda layer: prune.remove(layer, "bias")),
    "lazy": (lazy, r"'0.weight' has no shape yet", built),
}


@pytest.mark.parametrize("name", REMADE)
def test_what_cannot_be_copied_is_refused_and_its_repair_works(name):
    make, message, mend = REMADE[name]
    layer = make()
    with pytest.raises(TracingError, match=message) as caught:
        dv.disentangle(around(layer), "dnn")
    assert "Repair: " in str(caught.value)
    torch.manual_seed(0)
    model = around(mend(layer)).eval()
    for parameter in model.parameters():
        nn.init.uniform_(parameter)
    x = torch.randn(5, 4)
    assert torch.equal(dv.disentangle(model, "dnn")(x), model(x))


def test_complex_models_are_refused():
    model = around(nn.Linear(4, 4, dtype=torch.cfloat))
    with pytest.raises(TracingError, match=r"'0.weight' is complex"):
        dv.disentangle(model, "dnn")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_are_kept(dtype):
    model = around(nn.Linear(4, 4)).to(dtype)
    x = torch.randn(5, 4, dtype=dtype)
    assert torch.equal(dv.disentangle(model, "dnn", example_input=x)(x), model(x))
    assert dv.disentangle(model, "dgn")(x).dtype == dtype


HOOKS = {
    "register_forward_hook": lambda m, seen: m[0].register_forward_hook(lambda *_: seen.append(1)),
    "pre-hook": lambda m, seen: m[0].register_forward_pre_hook(lambda *_: seen.append(1)),
    "backward": lambda m, seen: m[0].register_full_backward_hook(lambda *_: seen.append(1)),
    "parameter": lambda m, seen: m[0].weight.register_hook(seen.append),
    "accumulated": lambda m, seen: m[0].weight.register_post_accumulate_grad_hook(seen.append),
}


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("name", HOOKS)
def test_hooks_are_warned_of_and_not_carried_over(name):
    model, seen = around(nn.Linear(4, 4)), []
    HOOKS[name](model, seen)
    with pytest.warns(DualviewWarning, match=r"hooks on 0(\.weight)? are not carried over"):
        net = dv.disentangle(model, "dnn")
    net(torch.randn(5, 4)).sum().backward()
    assert not seen
    model(torch.randn(5, 4)).sum().backward()
    assert len(seen) == 1


@pytest.mark.parametrize("kind", ["dnn", "dgn"])
def test_tied_parameters_stay_tied(kind):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)).double()
    model[2].weight = model[0].weight
    x = torch.randn(5, 4, dtype=torch.float64)
    weights = dv.disentangle(model, kind, seed=0).weights_network
    assert weights.get_submodule("0").weight is weights.get_submodule("2").weight
    assert torch.equal(dv.disentangle(model, "dnn")(x), model(x))
