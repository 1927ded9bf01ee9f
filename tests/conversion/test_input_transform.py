"""A network that carries its input transform:

- has, on x, the outputs, gates and pre-activations of the one without it on (x - mean) / std;
- so do kernels, features, empirical NTK, Gram matrices, kernel machines, contributions, strongest
  paths and the oracle's paths; the weights network's "ones" stay ones;
- has filters, offsets and distances of x itself, at the border too, equal to derivatives;
- keeps the transform through copies, state dicts, saving, torch.export and ONNX;
- is made by the keyword, or of a model with the transform at its front, and by nothing ambiguous.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import dualview as dv
from dualview.architectures import ResNet
from dualview.conversion.input_transform import InputTransform, same_transform, taken_off
from dualview.errors import ConversionError, ExampleInputError, PrimalFilterError
from tests.cases import SMALL, enliven, small_architecture

MEAN, STD = (0.3, -0.2, 0.1), (0.5, 2.0, 0.25)
MODELS = {
    "fc": (lambda: small_architecture("fc"), SMALL["fc"][1]),
    "c4gap": (lambda: small_architecture("c4gap", batch_norm=True), SMALL["c4gap"][1]),
    "residual": (lambda: enliven(ResNet(1, 3, (3, 6, 7), 2, True).double()), (3, 6, 7)),
}


def pair(name, kind="dlgn", model=None, **options):
    """The network with its transform, the same without, examples before and after it."""
    make, input_shape = MODELS[name]
    model = (make() if model is None else model).eval()
    channels = input_shape[0]
    transform = InputTransform(MEAN[:channels], STD[:channels])
    net, bare = (
        dv.disentangle(model, kind, seed=0, input_transform=given, **options).eval()
        for given in (transform, None)
    )
    x = torch.randn(4, *input_shape, dtype=torch.float64)
    shape = (1, -1, 1, 1)
    z = (x - net.input_transform.mean.reshape(shape)) / net.input_transform.std.reshape(shape)
    return net, bare, x, z


KERNELS = {
    "npk": lambda net, x: dv.npk(net, x),
    "npk, two batches": lambda net, x: dv.npk(net, x[:1], x[1:]),
    "npk, hard gates, biases": lambda net, x: dv.npk(net, x, gates="hard", biases=True),
    "npk, float32, by the fast tile": lambda net, x: dv.npk(
        copy.deepcopy(net).float(), x.float(), gates="hard"
    ),
    "expected_ntk": lambda net, x: dv.expected_ntk(net, x),
    "empirical_ntk": lambda net, x: dv.empirical_ntk(net, x[:2]),
    "npk_features": lambda net, x: dv.npk_features(net, x, 40),
}

PATHS = {
    "input_contributions": lambda net, x: torch.as_tensor(
        dv.input_contributions(net, x[:1], 1).coordinates
    ),
    "layer_contributions": lambda net, x: torch.tensor(
        [dv.layer_contributions(net, x[:1], 1, layer).through for layer in range(net.n_gates)]
    ),
    "top_paths": lambda net, x: torch.tensor(
        [path.contribution for path in dv.top_paths(net, x[:1], 0, k=3).paths]
    ),
}


@pytest.mark.parametrize("kind", ["dnn", "dgn", "dlgn"])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_those_on_standardised_inputs(name, kind):
    net, bare, x, z = pair(name, kind)
    assert torch.equal(net(x), bare(z))
    for own, other in zip(net.gates(x), bare.gates(z), strict=True):
        assert torch.equal(own, other)
    for own, other in zip(net.preactivations(x), bare.preactivations(z), strict=True):
        assert torch.equal(own, other)
    core = net.without_input_transform()
    assert torch.equal(core(z), net(x))
    assert next(core.parameters()) is next(net.parameters())
    assert core.input_transform is None
    assert net.input_transform is not None


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("measure", [*KERNELS.values(), *PATHS.values()], ids=[*KERNELS, *PATHS])
def test_kernels_and_paths_are_those_on_standardised_inputs(measure, name):
    net, bare, x, z = pair(name)
    found, expected = measure(net, x), measure(bare, z)
    tolerance = 1e-4 if found.dtype == torch.float32 else 1e-9
    assert torch.allclose(found, expected, rtol=tolerance, atol=tolerance)
    assert not torch.allclose(found, measure(bare, x), rtol=1e-3, atol=1e-6)


def test_contributions_sum_to_the_logit():
    net, _, x, _ = pair("c4gap")
    found = dv.input_contributions(net, x[:1], 2)
    assert found.total == pytest.approx(net(x[:1])[0, 2].item(), rel=1e-12)


def test_ones_stay_ones():
    net, bare, x, z = pair("c4gap", model=small_architecture("c4gap"), weights_input="ones")
    assert torch.equal(net(x), bare(z))
    assert torch.allclose(dv.npk(net, x), dv.npk(bare, z), rtol=1e-12)
    float_net, float_bare = (copy.deepcopy(n).float() for n in (net, bare))
    fast = dv.npk(float_net, x.float(), gates="hard")
    assert torch.allclose(fast, dv.npk(float_bare, z.float(), gates="hard"), rtol=1e-5)


def test_the_oracle_lists_the_same_paths():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    net = dv.disentangle(model, "dnn", input_transform=InputTransform(MEAN, STD))
    x = torch.randn(3, 3, dtype=torch.float64)
    features, values = dv.path_features(net, x), dv.path_values(net)
    assert torch.allclose(features @ values.T, net(x), atol=1e-12)
    gram = dv.npk(net, x, normalise=False, biases=True)
    assert torch.allclose(features @ features.T, gram, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_filters_are_of_the_input_as_it_is(name):
    net, bare, x, _ = pair(name)
    for layer in range(min(net.n_gates, 3)):
        found = dv.primal_filters(net, layer, x.shape[1:])
        q = net.preactivations(x)[layer]
        assert torch.allclose(found.preactivations(x), q, atol=1e-9)
        jacobian = torch.func.jacrev(lambda v, layer=layer: net.preactivations(v[None])[layer][0])
        expected = jacobian(x[0])
        filters = found.filters()
        assert torch.allclose(filters.reshape(expected.shape), expected, atol=1e-9)
        norms = expected.flatten(-3).norm(dim=-1)
        assert torch.allclose(found.norms, norms, atol=1e-9)
        assert torch.allclose(dv.gate_distances(net, x, layer), q / norms, atol=1e-7)
        other = dv.primal_filters(bare, layer, x.shape[1:])
        assert found.has_channel_kernels == other.has_channel_kernels
        if found.has_channel_kernels:
            scale = net.input_transform.std.reshape(1, -1, 1, 1)
            assert torch.allclose(found.channel_kernels, other.channel_kernels / scale, atol=1e-12)


def test_filters_of_shallow_features():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    net = dv.disentangle(model, "dlgn-sf", seed=0, input_transform=InputTransform(MEAN, STD)).eval()
    x = torch.randn(5, 3)
    found = dv.primal_filters(net, 1)
    assert torch.allclose(
        x @ found.filters().T + found.offsets, net.preactivations(x)[1], atol=1e-5
    )


def test_machines_and_attributions():
    net, bare, x, z = pair("fc")
    labels = [0, 1, 0, 1]
    own, other = (dv.NPKClassifier(n, ridge=0.1) for n in (net, bare))
    assert np.allclose(
        own.fit(x, labels).decision_function(x), other.fit(z, labels).decision_function(z)
    )
    mine = dv.kernel_attribution(net, x[0], x, labels, ridge=0.1)
    theirs = dv.kernel_attribution(bare, z[0], z, labels, ridge=0.1)
    assert np.allclose(mine.parts, theirs.parts)


def test_gram_store_tells_transforms_apart(tmp_path):
    from dualview.path_kernel.gram.identity import differences, identity

    net, bare, x, _ = pair("fc")
    of_net, of_bare = identity(net, x, None, {}), identity(bare, x, None, {})
    assert differences(of_bare, of_net) == ["another input transform"]
    assert differences(of_net, of_bare) == ["another input transform"]
    del of_bare["fingerprints"]["input transform"]  # a store of before
    assert differences(of_bare, identity(bare, x, None, {})) == []


def test_rates_and_overlaps():
    net, bare, x, z = pair("c4gap")
    own, other = dv.gate_rates(net, x), dv.gate_rates(bare, z)
    assert all(map(torch.equal, own.by_class, other.by_class))
    assert dv.initial_overlap(net, copy.deepcopy(net), x) == (1.0,) * net.n_gates
    with pytest.raises(PrimalFilterError, match=r"initial\.input_transform = net\.input_transform"):
        dv.initial_overlap(net, bare, x)


def test_copies_and_state_dicts_keep_it():
    net, bare, x, _ = pair("c4gap")
    assert torch.equal(copy.deepcopy(net)(x), net(x))
    state = net.state_dict()
    assert {name for name in state if name not in bare.state_dict()} == {
        "input_transform.mean",
        "input_transform.std",
    }
    again, _, _, _ = pair("c4gap")
    again.load_state_dict(state)
    assert torch.equal(again(x), net(x))
    plain = {k: v for k, v in state.items() if "input_transform" not in k}
    bare.load_state_dict(plain)  # as saved before networks had a transform
    assert bare.input_transform is None
    bare.load_state_dict(state)  # a state brings its transform
    assert torch.equal(bare(x), net(x))
    with pytest.raises(RuntimeError, match=r"Missing key.*input_transform\.mean"):
        net.load_state_dict(plain)
    assert net.float().input_transform.mean.dtype == torch.float32


def test_export_keeps_it():
    net, _, x, _ = pair("c4gap")
    exported = torch.export.export(net, (x,)).module()
    assert torch.allclose(exported(x), net(x), atol=1e-12)


def test_onnx_keeps_it(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    net, _, x, _ = pair("c4gap")
    net, x = net.float(), x.float()
    torch.onnx.export(net, (x,), tmp_path / "net.onnx", dynamo=True, verbose=False)
    session = runtime.InferenceSession(str(tmp_path / "net.onnx"))
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert np.allclose(found, net(x).detach(), atol=1e-4)


def test_a_model_with_the_transform_at_its_front():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    x, transform = torch.randn(5, 3), InputTransform(MEAN, STD)
    front = nn.Sequential(transform, model)
    assert torch.allclose(dv.disentangle(front, "dnn")(x), front(x), atol=1e-6)
    flat = nn.Sequential(transform, *model)
    assert torch.allclose(dv.disentangle(flat, "dnn", example_input=x)(x), front(x), atol=1e-6)
    with pytest.raises(ConversionError, match="leave one of them out"):
        dv.disentangle(front, input_transform=transform)
    with pytest.raises(ConversionError, match="'1': expected an InputTransform at the front"):
        dv.disentangle(nn.Sequential(nn.Linear(3, 3), transform, nn.ReLU()))
    with pytest.raises(ConversionError, match=r"expected an InputTransform"):
        dv.disentangle(model, input_transform=(MEAN, STD))
    net = dv.disentangle(model, input_transform=transform)
    assert net.input_transform is not transform  # a copy: the user's module is never written to


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0, 1), (1, 1, 1), "got 2 and 3"),
        (0, 0, "expected positive numbers"),
        (0, -1, "expected positive numbers"),
        (float("nan"), 1, "mean: expected a number"),
        (0, float("inf"), "std: expected a number"),
        ((), 1, "mean: expected a number"),
        ("x", 1, "mean: expected a number"),
        (None, 1, "mean: expected a number"),
        (10**400, 1, "mean: expected a number"),
    ],
)
def test_odd_numbers_are_refused(mean, std, message):
    with pytest.raises(ConversionError, match=message):
        InputTransform(mean, std)


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 4, 2), (3,)])
def test_other_channels_are_refused(shape):
    with pytest.raises(ExampleInputError, match="input transform"):
        InputTransform(MEAN, STD)(torch.zeros(shape))


def test_one_number_serves_all_channels():
    x = torch.randn(2, 3, 4)
    assert torch.allclose(InputTransform(0.5, (1, 2, 4))(x)[:, 2], (x[:, 2] - 0.5) / 4)
    assert InputTransform(0.5, 2).is_that_of((0.5, 0.5), (2, 2))
    assert not InputTransform(0.5, 2).is_that_of((0.5, 0.4), (2, 2))
    assert same_transform(None, None)
    assert not same_transform(InputTransform(1, 1), None)


def test_taken_off_leaves_other_models_alone():
    model = nn.Sequential(nn.Linear(2, 2))
    assert taken_off(model) == (model, None)
