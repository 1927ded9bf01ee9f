"""Tracing.

- Every call site of an activation is found, however it is spelt and however often one is used.
- The model is never changed, whether tracing works or not.
- Functional dropout follows the mode; any other difference between modes is refused.
- What cannot be traced is refused with the user's line.
"""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dualview.architectures import ARCHITECTURES
from dualview.conversion.modes import evaluation_mode
from dualview.conversion.tracing import gate_of, trace
from dualview.errors import (
    DualviewWarning,
    ExampleInputError,
    NoActivationError,
    TracingError,
    UnsupportedOperationError,
)
from tests.cases import SPELLED_INPUT, SPELLINGS, Spelled, small_architecture, small_input


def snapshot(model):
    """All that belongs to a model: values, modes, hooks, attributes, code."""
    state = {k: v.clone() for k, v in model.state_dict().items()}
    modules = {
        name: (type(m), m.training, tuple(m._forward_hooks), sorted(m.__dict__), repr(m))
        for name, m in model.named_modules()
    }
    return state, modules


def assert_unchanged(model, before):
    state, modules = snapshot(model)
    assert modules == before[1]
    assert state.keys() == before[0].keys()
    assert all(torch.equal(state[k], before[0][k]) for k in state)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_two_call_sites(spelling):
    traced = trace(Spelled(SPELLINGS[spelling]()), torch.randn(SPELLED_INPUT))
    assert len(traced.activations) == 2


# Residual networks: one gate after each convolution and one after each addition.
GATES = {
    "fc": 5,
    "vconv": 6,
    "gconv": 6,
    "c4gap": 4,
    "c6white": 7,
    "c6late": 7,
    "vgg16": 13,
    "resnet20": 19,
}
GATES |= {"resnet32": 31, "resnet56": 55, "resnet110": 109, "vit": 4}

# One LayerNorm before each attention and each dense network, and one at the end; four attentions.
MULTIPLIERS = {"vit": 13}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_call_sites_of_architectures(name):
    traced = trace(small_architecture(name), small_input(name))
    assert len(traced.activations) == GATES[name]
    assert len(traced.max_pools) == (4 if name in ("vgg16", "c6white", "c6late") else 0)
    assert len(traced.multipliers) == MULTIPLIERS.get(name, 0)


def test_shapes_are_those_of_the_model():
    traced = trace(small_architecture("gconv"), small_input("gconv", 2))
    got = [tuple(traced.shapes[node]) for node in traced.activations]
    assert got == [(2, 3, 6, 5)] * 2 + [(2, 6, 6, 5)] * 2 + [(2, 12)] * 2


def test_options_of_functions_reach_the_gate():
    class Model(nn.Module):
        def forward(self, x):
            return F.leaky_relu(F.leaky_relu(x, 0.3), negative_slope=0.4)

    slopes = [gate_of(node).slope for node in trace(Model()).activations]
    assert slopes == [0.3, 0.4]


@pytest.mark.parametrize("mode", [True, False])
def test_model_is_unchanged(mode):
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Dropout(0.5)
    )
    model.train(mode)
    model[1].eval()
    before = snapshot(model)
    traced = trace(model, torch.randn(2, 2, 5, 5))
    assert_unchanged(model, before)
    assert traced.module.get_submodule("3").training == mode
    assert not traced.module.get_submodule("1").training


def test_model_with_hooks_is_warned_about_and_keeps_them():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    seen = []
    model[0].register_forward_hook(lambda *_: seen.append(1))
    before = snapshot(model)
    with pytest.warns(DualviewWarning, match="hooks on 0 are not carried over"):
        trace(model, torch.randn(1, 2))
    assert_unchanged(model, before)
    assert not seen
    model(torch.randn(1, 2))
    assert seen == [1]


class DataDependent(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x):
        if x.sum() > 0:
            return F.relu(self.fc(x))
        return self.fc(x)


class Assigns(nn.Module):
    def forward(self, x):
        x[:, 0] = 0
        return F.relu(x)


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return F.relu(x) + y


class ModeDependent(nn.Module):
    def forward(self, x):
        return F.relu(x) if self.training else F.relu(x) * 2


REFUSED = {
    "control flow": (DataDependent, "if x.sum\\(\\) > 0"),
    "item assignment": (Assigns, "x\\[:, 0\\] = 0"),
    "two inputs": (TwoInputs, "expected one input tensor"),
    "mode": (ModeDependent, "another thing in training mode|operations in training mode"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(2), nn.ReLU()), "no shape yet"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_refusals_name_the_line_and_change_nothing(case):
    make, message = REFUSED[case]
    model = make()
    modules = {name: dict(m.__dict__) for name, m in model.named_modules()}
    with pytest.raises(TracingError, match=message):
        trace(model)
    assert {name: dict(m.__dict__) for name, m in model.named_modules()} == modules


def test_no_activation_is_refused():
    class DeadActivation(nn.Module):
        def forward(self, x):
            F.relu(x)
            return x * 2

    for model in (nn.Linear(2, 2), DeadActivation()):
        with pytest.raises(NoActivationError, match="got none"):
            trace(model)


def test_not_a_module():
    with pytest.raises(TracingError, match=r"expected a torch\.nn\.Module, got function"):
        trace(F.relu)


def test_functional_dropout_follows_the_mode():
    class Model(nn.Module):
        def forward(self, x):
            return F.dropout(F.relu(x), 0.5, training=self.training)

    traced = trace(Model().eval())
    x = torch.rand(100)
    assert torch.equal(traced.module(x), x)
    assert (traced.module.train()(x) == 0).any()


def test_tensors_made_in_forward_are_constants():
    class Model(nn.Module):
        def forward(self, x):
            return F.relu(x) * torch.arange(3.0) + torch.ones(3)

    x = torch.randn(2, 3)
    assert torch.equal(trace(Model()).module(x), F.relu(x) * torch.arange(3.0) + 1)


def test_optional_arguments_take_their_defaults():
    class Model(nn.Module):
        def forward(self, x, scale=2.0, mask=None):
            x = F.relu(x) * scale
            return x if mask is None else x * mask

    x = torch.randn(5)
    assert torch.equal(trace(Model()).module(x), F.relu(x) * 2)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (torch.randn(2, 5), r"Linear \(module '0'\).*shape \(2, 5\)"),
        (torch.randn(3), "expected a batch"),
        ([1, 2, 3], "expected a tensor"),
    ],
)
def test_wrong_example_input_is_refused(example, message):
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    with pytest.raises(ExampleInputError, match=message):
        trace(model, example)


class Alias(nn.Module):
    """An activation in place changes what `saved` names, too."""

    def __init__(self):
        super().__init__()
        self.activation = nn.Hardswish(inplace=True)

    def forward(self, x):
        saved = x
        return torch.cat([self.activation(x), saved], 1)


def test_example_input_is_compared_with_the_model_as_it_is():
    traced = trace(Alias(), torch.randn(2, 3))
    x = torch.randn(4, 3)
    assert torch.equal(traced.module(x), torch.cat([F.hardswish(x)] * 2, 1))
    assert not traced.module.activation.inplace


def test_weight_norm_hooks_are_refused():
    with pytest.warns(FutureWarning):
        layer = nn.utils.weight_norm(nn.Linear(2, 2))
    with pytest.raises(TracingError, match="makes its 'weight' anew"):
        trace(nn.Sequential(layer, nn.ReLU()))


def test_indices_of_max_pool_are_refused():
    class Model(nn.Module):
        def forward(self, x):
            return F.max_pool2d(F.relu(x), 2, return_indices=True)[0]

    with pytest.raises(UnsupportedOperationError, match=r"max_pool2d.*indices"):
        trace(Model())


def test_evaluation_mode_restores_every_mode():
    model = nn.Sequential(nn.ReLU(), nn.BatchNorm1d(2).eval())
    with evaluation_mode(copy.copy(model)):
        assert not model[0].training
    assert (model[0].training, model[1].training) == (True, False)
