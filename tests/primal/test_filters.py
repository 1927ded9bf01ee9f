"""Properties proved here, in float64 unless said otherwise.

1. Filters, offsets, channel kernels (at every interior position), norms and reconstructed values
   <F, x> + c equal the autograd Jacobian, border included, for every layer of every reference
   architecture (the deepest: their first, middle and last layers), with lively batch norm.
2. The same for DLGN-SF, both ways of max pooling, permuted gate orders, and random graphs.
3. Chosen channels and positions are rows of the whole, in any order, for any memory bound.
4. Distances are those to the nearest point of the hyperplane, by brute force; a gate without a
   filter is infinitely far.
5. A snapshot: changing the network afterwards changes nothing. Nothing of the network changes.
6. float32 agrees.
7. The input's shape is that of the example input, or the reference architecture's, or a first dense
   layer's; copies, saved networks and those that state dicts are loaded into know it too.
8. What cannot be served is refused with the repair; kernels that take more than the memory bound
   are refused before any is composed, and so are those that are larger than the image.
9. Norms and distances of chosen gates are entries of those of all, border included.
"""

import copy
import itertools

import pytest
import torch
from hypothesis import given, settings
from torch import nn

import dualview as dv
from dualview.architectures import c4gap
from dualview.errors import PrimalFilterError
from dualview.primal import composition
from dualview.primal import filters as filters_module
from dualview.primal.filters import gate_distances, primal_filters
from tests.cases import DLGN_CASES, SMALL, small_architecture
from tests.primal.oracle import assert_close, assert_exact, gated, jacobian, stack
from tests.random_networks import Features, random_networks

pytestmark = pytest.mark.filterwarnings("ignore::dualview.DualviewWarning")


def some_layers(net):
    """All layers; of deep networks the first two, a middle one and the last."""
    n = net.n_gates
    return range(n) if n < 20 else (0, 1, n // 2, n - 1)


# Against the Jacobian


@pytest.mark.parametrize(("name", "batch_norm"), DLGN_CASES)
def test_architectures(name, batch_norm):
    net = gated(small_architecture(name, batch_norm))
    for layer in some_layers(net):
        assert_exact(net, layer, SMALL[name][1])


@pytest.mark.parametrize("name", ["fc", "vconv", "gconv", "c4gap"])
def test_shallow_features(name):
    shape = SMALL[name][1]
    example = torch.zeros(1, *shape, dtype=torch.float64)
    net = gated(small_architecture(name), "dlgn-sf", example_input=example)
    for layer in range(net.n_gates):
        assert_exact(net, layer, shape)


@pytest.mark.parametrize("max_pool", ["average", "switch"])
def test_both_ways_of_max_pooling(max_pool):
    conv = [nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 3)]
    net = gated(stack(*conv), max_pool=max_pool)
    found = assert_exact(net, 1, (2, 12, 10))
    assert found.interior == (range(1, 3), range(1, 2))
    assert found.channel_kernels.shape == (2, 2, 8, 8)


def test_layers_are_the_gating_networks_whatever_the_gate_order():
    model = small_architecture("c4gap")
    order = (2, 0, 3, 1)
    net = gated(model, gate_order=order, gate="hard")
    shape = SMALL["c4gap"][1]
    x = torch.randn(1, *shape, dtype=torch.float64)
    gates = net.gates(x)
    for layer, source in enumerate(order):
        found = assert_exact(net, source, shape)
        assert torch.equal(gates[layer], (found.preactivations(x) > 0).double())


# Gates leave a DLGN's gating network; spelt in place, they would only hit refusals.
RANDOM = Features(activations=("nn.ReLU()", "x.relu()"), steps=5, size=7)


@settings(max_examples=60)
@given(random_networks(RANDOM))
def test_random_graphs(model):
    net = gated(model)
    for layer in range(net.n_gates):
        filters, _ = jacobian(net, layer, model.input_shape)
        if filters.abs().max() > 1e-9:
            assert_exact(net, layer, model.input_shape)


# Choosing


CHAIN = stack(nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3, stride=2, padding=1))


def test_chosen_filters_are_rows_of_the_whole():
    net = gated(copy.deepcopy(CHAIN))
    found = primal_filters(net, 0, (2, 6, 5))
    whole, _ = jacobian(net, 0, (2, 6, 5))
    places = [(2, 1), (0, 0), (1, 2)]
    got = found.filters(channels=[3, 0], positions=places)
    expected = torch.stack([torch.stack([whole[c, i, j] for i, j in places]) for c in (3, 0)])
    assert_close(got, expected)
    assert_close(found.filters(channels=2), whole[2].reshape(1, 9, 2, 6, 5))
    assert found.filters(channels=[], positions=places).shape == (0, 3, 2, 6, 5)


@pytest.mark.parametrize("memory", [4e4, 1e5, 1e9])
def test_any_memory_bound_gives_the_same(memory):
    net = gated(copy.deepcopy(CHAIN))
    found = primal_filters(net, 0, (2, 6, 5), memory=memory)
    whole, _ = jacobian(net, 0, (2, 6, 5))
    assert_close(found.filters(), whole.flatten(1, 2))
    assert_close(found.norms, whole.flatten(3).norm(dim=-1))


def test_dense_layers():
    net = gated(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU()))
    found = primal_filters(net, 1)
    first, second = (m.weight for m in net.gating_network.modules() if isinstance(m, nn.Linear))
    assert found.input_shape == (5,)
    assert found.interior == ()
    assert_close(found.filters(), (second @ first).detach())
    assert_close(found.filters(channels=[2]), (second @ first).detach()[2:])
    with pytest.raises(PrimalFilterError, match=r"no channel kernels: it is dense.*filters\(\)"):
        found.channel_kernels


# The input's shape


def assert_known(net, shape):
    found, expected = primal_filters(net, 0), primal_filters(net, 0, shape)
    assert found.input_shape == shape
    assert torch.equal(found.offsets, expected.offsets)


@pytest.mark.parametrize("name", ["fc", "vconv", "gconv", "c4gap", "vgg16", "resnet20"])
def test_architectures_know_the_input_shape(name):
    assert_known(gated(small_architecture(name)), SMALL[name][1])


def test_an_example_input_goes_before_the_architecture():
    example = torch.zeros(2, 3, 8, 7, dtype=torch.float64)
    assert_known(gated(small_architecture("c4gap"), example_input=example), (3, 8, 7))


@pytest.mark.parametrize("kind", ["dlgn", "dlgn-sf"])
def test_networks_remember_the_example_inputs_shape(kind, tmp_path):
    x = torch.zeros(1, 2, 6, 5, dtype=torch.float64)
    model = stack(nn.Conv2d(2, 3, 3, padding=1))
    net = gated(copy.deepcopy(model), kind, example_input=x)
    assert_known(net, (2, 6, 5))
    assert_known(copy.deepcopy(net).float().double(), (2, 6, 5))
    torch.save(net, tmp_path / "net.pt")
    assert_known(torch.load(tmp_path / "net.pt", weights_only=False), (2, 6, 5))
    other = gated(copy.deepcopy(model), kind, example_input=x)
    other.load_state_dict(net.state_dict())
    assert_known(other, (2, 6, 5))
    assert torch.equal(primal_filters(other, 0).offsets, primal_filters(net, 0).offsets)


def test_origin_places_the_kernel():
    found = primal_filters(gated(copy.deepcopy(CHAIN)), 0, (2, 12, 11))
    assert found.interior == (range(1, 5), range(1, 5))
    assert found.origin((2, 1)) == (2, 0)
    with pytest.raises(PrimalFilterError, match=r"in the interior .* got \(0, 1\).*filters\("):
        found.origin((0, 1))


def test_origin_of_a_circular_kernel_is_modulo_the_input():
    net = gated(stack(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")))
    assert primal_filters(net, 0, (1, 5, 4)).origin((0, 3)) == (4, 2)


# Distances


def test_distances_lead_to_the_hyperplane():
    """Moving by -distance along the unit normal makes q zero: the nearest point, found by hand."""
    net = gated(copy.deepcopy(CHAIN))
    x = torch.randn(2, 2, 6, 5, dtype=torch.float64)
    filters, _ = jacobian(net, 0, x.shape[1:])
    net.requires_grad_(False)
    distances = gate_distances(net, x, 0)
    assert distances.shape == (2, 4, 3, 3)
    assert torch.equal(distances > 0, net.preactivations(x)[0] > 0)
    for n, c, i, j in itertools.product(range(2), range(4), range(3), range(3)):
        normal = filters[c, i, j] / filters[c, i, j].norm()
        foot = x[n] - distances[n, c, i, j] * normal
        assert abs(float(net.preactivations(foot[None])[0][0, c, i, j])) < 1e-11


def test_gates_without_a_filter_are_infinitely_far():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    net = dv.disentangle(model, "dlgn", seed=0).eval()
    layer = net.gating_network.get_submodule("0")
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor([2.0, -1.0, 0.0]))
    inf = float("inf")
    assert gate_distances(net, torch.ones(1, 2), 0).tolist() == [[inf, -inf, 0.0]]


def test_distances_of_an_example_without_its_axis_say_so():
    net = dv.disentangle(c4gap(width=2, input_shape=(3, 8, 8)), "dlgn", seed=0).eval()
    with pytest.raises(PrimalFilterError, match=r"x: expected examples \(n, 3, .*Repair: x\[None"):
        gate_distances(net, torch.randn(3, 8, 8), 0)
    with pytest.raises(PrimalFilterError, match="cannot take a value of shape"):
        gate_distances(net, torch.randn(5, 2, 8, 8), 0)


def test_distances_and_norms_of_chosen_gates():
    net = gated(copy.deepcopy(CHAIN))
    x = torch.randn(3, 2, 9, 8, dtype=torch.float64)
    found = primal_filters(net, 0, x.shape[1:])
    assert found.has_channel_kernels
    channels, places = [3, 0, 3], [(0, 0), (4, 2), (1, 1), (4, 2)]
    norms = torch.stack([found.norms[channels, i, j] for i, j in places], 1)
    torch.testing.assert_close(found.norms_of(iter(channels), iter(places)), norms)
    torch.testing.assert_close(found.norms_of(), found.norms.flatten(1))
    distances = gate_distances(net, x, 0)
    expected = torch.stack([distances[:, channels, i, j] for i, j in places], 2)
    got = gate_distances(net, x, 0, channels=iter(channels), positions=iter(places))
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(gate_distances(net, x, 0, channels=2), distances[:, [2]].flatten(2))


def test_distances_of_chosen_units():
    net, x = gated(stack(nn.Linear(3, 5))), torch.randn(2, 3, dtype=torch.float64)
    found = gate_distances(net, x, 0, channels=[4, 1])
    torch.testing.assert_close(found, gate_distances(net, x, 0)[:, [4, 1]])


# Snapshots, modes, types


def test_a_snapshot_of_an_unchanged_network():
    net = gated(small_architecture("c4gap", batch_norm=True))
    before = copy.deepcopy(net.state_dict())
    found = primal_filters(net, 2, SMALL["c4gap"][1])
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(p.requires_grad for p in net.parameters())
    expected = found.filters(0, [(0, 0)])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert torch.equal(found.filters(0, [(0, 0)]), expected)
    assert found.norms.min() > 0


def test_float32():
    net = gated(small_architecture("c4gap", batch_norm=True))
    exact = primal_filters(net, 3, SMALL["c4gap"][1])
    found = primal_filters(net.float(), 3, SMALL["c4gap"][1])
    for got, expected in (
        (found.filters(), exact.filters()),
        (found.norms, exact.norms),
        (found.offsets, exact.offsets),
    ):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-5)


def test_training_mode_without_batch_norm_is_no_obstacle():
    net = gated(small_architecture("c4gap")).train()
    assert_exact(net, 3, SMALL["c4gap"][1])
    assert net.training


def test_repr_shows_shapes():
    found = primal_filters(gated(copy.deepcopy(CHAIN)), 0, (2, 6, 5))
    assert "gate_shape=(4, 3, 3), channel_kernels=(4, 2, 5, 5)" in repr(found)


# Refusals


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (None, r"input_shape: .*got None.*x\.shape\[1:\]"),
        ((2, 0, 5), "input_shape: expected positive sizes"),
        ((), "input_shape: expected positive sizes"),
        ("image", "input_shape: expected positive sizes"),
        ((3, 6, 5), r"Conv2d \(module '0'\)[^:]*: it cannot take a value of shape \(1, 3, 6, 5\)"),
    ],
)
def test_wrong_input_shapes_are_refused(shape, message):
    with pytest.raises(PrimalFilterError, match=message):
        primal_filters(gated(copy.deepcopy(CHAIN)), 0, shape)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"channels": 4}, "channels: expected a whole number from 0 to 3, got 4"),
        ({"channels": [0, -1]}, "channels: .*got -1"),
        ({"channels": 1.5}, "channels: .*got 1.5"),
        ({"positions": [(0, 3)]}, "positions: expected a whole number from 0 to 2, got 3"),
        ({"positions": [(0,)]}, r"positions: expected 2 numbers each.*got \(0,\)"),
    ],
)
def test_wrong_choices_are_refused(choice, message):
    found = primal_filters(gated(copy.deepcopy(CHAIN)), 0, (2, 6, 5))
    with pytest.raises(PrimalFilterError, match=message):
        found.filters(**choice)


def test_dense_layers_have_no_positions():
    found = primal_filters(gated(stack(nn.Linear(3, 2))), 0)
    with pytest.raises(PrimalFilterError, match=r"expected none for layer 0, which is dense"):
        found.filters(positions=[()])


def test_results_larger_than_the_memory_bound_are_refused():
    found = primal_filters(gated(copy.deepcopy(CHAIN)), 0, (2, 6, 5), memory=17_000)
    with pytest.raises(PrimalFilterError, match=r"36 gates take 0 MB.*channel_kernels"):
        found.filters()
    assert found.filters(0).shape == (1, 9, 2, 6, 5)


def test_kernels_that_take_more_than_the_memory_bound_are_refused(monkeypatch):
    model = stack(*(nn.Conv2d(n, 8, 5) for n in (1, 8)))
    net = gated(model)
    found, wide = (primal_filters(net, 0, (1, 40, 40), memory=size) for size in (9e3, 2e4))
    assert found.has_channel_kernels
    refused = r"\(8, 1, 9, 9\), take \d+ MB and about \d+ s .*Repair: filters\(.*memory="
    monkeypatch.setattr(filters_module, "walk", None)  # nothing is composed
    with pytest.raises(PrimalFilterError, match=refused):
        found.channel_kernels
    with pytest.raises(PrimalFilterError, match=r"one gate of layer 0 takes"):
        wide.filters(0, [(0, 0)])


def test_kernels_larger_than_the_image_are_not_composed(monkeypatch):
    composed = []
    rule = composition.RULES["convolution"]

    def watched(call):
        composed.append(call["input"].kernels.is_meta)
        return rule(call)

    monkeypatch.setitem(composition.RULES, "convolution", watched)
    model = stack(*(nn.Conv2d(1, 1, 5, padding=2) for _ in range(4)))
    found = primal_filters(gated(model), 0, (1, 12, 30))
    with pytest.raises(PrimalFilterError, match=r"larger than the image: .*13 x 13 .*of 12 x 30"):
        found.channel_kernels
    assert composed == [True, True, True]
    assert found.filters(0, [(6, 15)]).shape == (1, 1, 1, 12, 30)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(1, 2, 6, 4, dtype=torch.float64), r"shape \(n, 2, 6, 5\), got"),
        (torch.zeros(1, 2, 6, 5), "expected torch.float64 .* got torch.float32"),
        (torch.full((1, 2, 6, 5), float("nan"), dtype=torch.float64), "finite"),
    ],
)
def test_wrong_examples_are_refused(x, message):
    found = primal_filters(gated(copy.deepcopy(CHAIN)), 0, (2, 6, 5))
    with pytest.raises(PrimalFilterError, match=message):
        found.distances(x)
