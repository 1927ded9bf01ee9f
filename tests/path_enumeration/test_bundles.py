"""Path features and path values.

- f(x) = <features, values> to 1e-10, for every kind of network, for both inputs, with dense layers,
  convolutions (padding modes, strides), pools, switches, skips, option-A shortcuts, batch norm and
  biases; and to 1e-12 on random graphs, with grouped convolutions and layers used twice.
- Features and values of a dense network are those of the definition, path by path.
- Bundles: paths that share all their weights are one column, the sum of its paths.
- Features do not depend on the weights, values do not depend on the examples.
- Too many paths are refused with their exact count; a shape that cannot be told is asked for.
"""

import itertools

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import dualview as dv
from dualview.architectures import ResNet
from dualview.errors import PathKernelError, TooManyPathsError
from dualview.path_enumeration import count_paths, path_features, path_values, paths
from tests.cases import enliven, relative_error
from tests.path_enumeration.models import (
    Pooled,
    PostActivation,
    convolutional,
    dense,
    gated,
    images,
    max_pool_chain,
)
from tests.random_networks import Features, random_networks

MODELS = {
    "dense": lambda: (dense(4, 3, 2, 2), (4,)),
    "dense with biases": lambda: (dense(4, 3, 2, 2, bias=True), (4,)),
    "zero padding": lambda: (convolutional(bias=True), (1, 3, 3)),
    "circular padding": lambda: (convolutional(padding_mode="circular"), (1, 3, 3)),
    "reflect padding": lambda: (convolutional(padding_mode="reflect"), (1, 3, 3)),
    "stride": lambda: (convolutional(stride=2, bias=True), (1, 4, 3)),
    "average pool": lambda: (Pooled(nn.AvgPool2d(2, 1)), (1, 4, 4)),
    "max pool": lambda: (Pooled(nn.MaxPool2d(2, 1)), (1, 4, 4)),
    "max pool chain": lambda: (max_pool_chain(), (1, 4, 4)),
    "skips": lambda: (PostActivation(batch_norm=False), (1, 3, 3)),
    "skips and batch norm": lambda: (PostActivation(), (1, 3, 3)),
    "option-A shortcuts": lambda: (residual(batch_norm=False), (1, 1, 2)),
    "residual with batch norm": lambda: (residual(batch_norm=True), (1, 1, 2)),
}
OPTIONS = {
    "dnn": {"kind": "dnn"},
    "dgn": {"kind": "dgn"},
    "dgn, switches": {"kind": "dgn", "max_pool": "switch"},
    "dlgn": {"kind": "dlgn"},
    "dlgn, ones": {"kind": "dlgn", "weights_input": "ones"},
}


def residual(batch_norm):
    return enliven(ResNet(1, 1, (1, 1, 2), 1, batch_norm).double()).eval()


CASES = [
    *itertools.product(MODELS, ["dgn"]),
    *itertools.product(["dense with biases", "skips"], ["dnn", "dlgn", "dlgn, ones"]),
    *itertools.product(["max pool", "max pool chain"], ["dgn, switches"]),
]
"""All models, and all kinds, which differ in their gates; random graphs mix them."""


@pytest.mark.parametrize(("name", "options"), CASES)
def test_features_times_values_are_the_network(name, options):
    model, shape = MODELS[name]()
    net = gated(model, **OPTIONS[options])
    x = torch.randn(3, *shape, dtype=torch.float64)
    with torch.no_grad():
        expected = net(x)
    features, values = path_features(net, x), path_values(net, shape)
    assert features.shape == (3, values.shape[1])
    assert expected.abs().max() > 1e-6, "a dead network shows nothing"
    assert relative_error(features @ values.T, expected) < 1e-10


def test_features_times_values_are_the_network_on_random_graphs():
    compared = set()

    @settings(max_examples=40)
    @given(
        random_networks(Features(channels=2, size=4, steps=4)),
        st.sampled_from(["dnn", "dgn", "dlgn", "dlgn, ones"]),
    )
    def compare(model, options):
        net = gated(model, **OPTIONS[options])
        shape = model.input_shape
        x = torch.randn(2, *shape, dtype=torch.float64)
        try:
            features = path_features(net, x, limit=10_000)
        except TooManyPathsError:
            assume(False)
        with torch.no_grad():
            expected = net(x)
        assert (features @ path_values(net, shape).T - expected).abs().max() <= 1e-12 * (
            1 + expected.abs().max()
        )
        compared.add(float(expected.abs().max()))

    compare()
    assert len(compared) >= 30, f"only {len(compared)} different networks were compared"


def test_dense_features_and_values_by_definition():
    net = gated(dense(3, 2, 2, 2))
    x = torch.randn(4, 3, dtype=torch.float64)
    g1, g2 = (gate.detach() for gate in net.gates(x))
    w1, w2, w3 = (p.detach() for p in net.weights_network.parameters())
    columns = [
        (
            x[:, i] * g1[:, j] * g2[:, k],
            torch.stack([w3[o, k] * w2[k, j] * w1[j, i] for o in (0, 1)]),
        )
        for i, j, k in itertools.product(range(3), range(2), range(2))
    ]
    features, values = path_features(net, x), path_values(net)
    expected = sorted(torch.cat([f, v]).tolist() for f, v in columns)
    got = sorted(torch.cat([features, values]).T.tolist())
    torch.testing.assert_close(torch.tensor(got), torch.tensor(expected))


def test_paths_of_the_same_weights_are_one_bundle():
    """A 3-tap circular convolution and global pooling on a line of 5: one bundle a weight."""
    conv = nn.Conv1d(1, 2, 3, padding=1, padding_mode="circular", bias=False)
    last = nn.Linear(2, 1, bias=False)
    model = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), last).double()
    net = gated(model, "dgn")
    x = torch.randn(3, 1, 5, dtype=torch.float64)
    assert count_paths(net, (1, 5)) == 2 * 3 * 5
    features, values = path_features(net, x), path_values(net, (1, 5))
    assert features.shape == (3, 2 * 3)
    (gate,) = net.gates(x)
    w1, w2 = (parameter.detach() for parameter in net.weights_network.parameters())
    for unit, tap in itertools.product(range(2), range(3)):
        bundle = (x[:, 0].roll(1 - tap, dims=1) * gate[:, unit]).mean(1).detach()
        value = w1[unit, 0, tap] * w2[0, unit]
        (column,) = (values[0] - value).abs().lt(1e-12).nonzero().flatten().tolist()
        torch.testing.assert_close(features[:, column], bundle)


class SharedLayer(nn.Module):
    """One layer used twice, so that weights are squared on some paths."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)

    def forward(self, x):
        return self.last(torch.relu(self.layer(torch.relu(self.layer(x)))))


def test_a_layer_used_twice_gives_squares_of_weights():
    net = gated(SharedLayer().double())
    x = torch.randn(3, 2, dtype=torch.float64)
    features, values = path_features(net, x), path_values(net)
    repeated = [path for path in paths(net, (2,)) if len(set(path.weights)) < len(path.weights)]
    assert len(repeated) == 2 * 2  # through one unit and the same again, for each output
    with torch.no_grad():
        assert relative_error(features @ values.T, net(x)) < 1e-10


def test_features_do_not_depend_on_the_weights():
    net = gated(PostActivation(), "dgn")
    x = images()
    features, values = path_features(net, x), path_values(net, (1, 3, 3))
    with torch.no_grad():
        for name, parameter in net.weights_network.named_parameters():
            if not name.startswith("norm."):  # its scale is a coefficient, so part of the features
                parameter.normal_()
    torch.testing.assert_close(path_features(net, x), features, rtol=0, atol=0)
    other = path_values(net, (1, 3, 3))
    assert not torch.allclose(other, values)
    with torch.no_grad():
        assert relative_error(features @ other.T, net(x)) < 1e-10


def test_outputs_that_end_in_no_weight_have_their_own_bundles():
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.ReLU()).double()
    net = gated(model, "dgn")
    x = torch.randn(4, 3, dtype=torch.float64)
    features, values = path_features(net, x), path_values(net)
    assert features.shape == (4, 6)
    assert ((values != 0).sum(0) == 1).all()
    with torch.no_grad():
        assert relative_error(features @ values.T, net(x)) < 1e-10


def test_float32_networks_are_evaluated_in_float64():
    net = gated(dense(4, 3, 2).float())
    x = torch.randn(3, 4)
    features, values = path_features(net, x), path_values(net)
    assert features.dtype == values.dtype == torch.float64
    with torch.no_grad():
        torch.testing.assert_close((features @ values.T).float(), net(x))


def test_neither_the_network_nor_its_mode_is_changed():
    net = gated(PostActivation(), "dgn").train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    path_features(net, images())
    path_values(net, (1, 3, 3))
    assert net.training
    assert all(module.training for module in net.weights_network.modules())
    after = net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_too_many_paths_are_refused_with_the_exact_count():
    net = gated(dense(4, 5, 6, 2))
    x = torch.randn(2, 4, dtype=torch.float64)
    for call in (lambda n: path_features(net, x, limit=n), lambda n: path_values(net, limit=n)):
        with pytest.raises(TooManyPathsError, match=r"240 paths: expected at most 239"):
            call(239)
        call(240)


def test_the_input_shape_is_asked_for_where_it_cannot_be_told():
    with pytest.raises(PathKernelError, match=r"x_shape.*Repair: pass the shape"):
        path_values(gated(convolutional()))


def test_public_names():
    assert dv.path_features is path_features
    assert dv.path_values is path_values
