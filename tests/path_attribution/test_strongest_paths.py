"""The strongest paths.

- A dense network's paths by definition: stops, factors, feature, value, contribution.
- All paths of random graphs and of the small reference architectures are those that the oracle
  lists; the first k are the k of largest magnitude, in order.
- Paths to the difference of two outputs are those to either, some with the opposite sign: by hand.
- Paths of 0 are not listed; ties give k different paths; hundreds of layers do not underflow, and
  sums beyond float64 are whole numbers.
- A search serves several outputs; nothing is changed; the same call gives the same paths.
- The example may have an axis of examples or not; gates are the network's own, in its own type.
- Each wrong argument is refused with what was expected.
"""

import itertools
import json
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import dualview as dv
from dualview.architectures import ARCHITECTURES, ResNet
from dualview.errors import PathKernelError, TooManyPathsError, UnsupportedOperationError
from dualview.path_attribution.strongest_paths import PathSearch, top_paths
from tests.cases import DLGN_CASES, TokenMixer, enliven, small_architecture, small_input
from tests.path_attribution.listed import assert_same_paths, centred, listed_paths
from tests.path_enumeration.models import (
    DenseBlocks,
    PostActivation,
    dense,
    gated,
    images,
    max_pool_chain,
)
from tests.random_networks import Features, random_networks

OPTIONS = {
    "dnn": {"kind": "dnn"},
    "dgn": {"kind": "dgn"},
    "dlgn": {"kind": "dlgn"},
    "hard": {"kind": "dlgn", "gate": "hard"},
    "ones": {"kind": "dlgn", "weights_input": "ones"},
    "switches": {"kind": "dgn", "max_pool": "switch"},
}


def ready(model, options="dlgn"):
    net = gated(model.double(), **OPTIONS[options])
    for network in (net.gating_network, net.weights_network):
        centred(network)
    return net


def test_a_dense_network_by_definition():
    net = ready(dense(3, 2, 2, 2, bias=False), "dlgn")
    x = torch.randn(1, 3, dtype=torch.float64)
    layers = (net.weights_network.get_submodule(name) for name in ("0", "2", "4"))
    first, second, last = (layer.weight.detach() for layer in layers)
    g1, g2 = (gate[0].detach() for gate in net.gates(x))
    expected = {}
    for i, h, j in itertools.product(range(3), range(2), range(2)):
        feature = x[0, i] * g1[h] * g2[j]
        value = first[h, i] * second[j, h] * last[1, j]
        expected[i, h, j] = (float(feature), float(value))
    top = top_paths(net, x, 1, k=12)
    assert (top.output, top.n_paths) == (1, 12)
    found = {}
    for path in top.paths:
        start, unit, gate, unit2, gate2, end = path.nodes
        assert [n.kind for n in path.nodes] == ["input", *["weights", "gate"] * 2, "weights"]
        assert [n.layer for n in path.nodes] == ["input", "0", "gate_1", "2", "gate_2", "4"]
        assert all(n.position == () for n in path.nodes)
        i, h, j = start.channel, unit.channel, unit2.channel
        assert (gate.channel, gate2.channel, end.channel) == (h, j, 1)
        factors = [x[0, i], first[h, i], g1[h], second[j, h], g2[j], last[1, j]]
        assert [n.factor for n in path.nodes] == [float(f) for f in factors]
        assert path.contribution == path.feature * path.value
        assert path.coefficient == 1
        found[i, h, j] = (path.feature, path.value)
    assert found == {key: pytest.approx(pair, rel=1e-14) for key, pair in expected.items()}


GRAPHS = Features(channels=2, size=4, steps=4)


def test_random_graphs():
    compared = set()

    @settings(max_examples=70)
    @given(random_networks(GRAPHS), st.sampled_from(sorted(OPTIONS)), st.integers(0, 1))
    def compare(model, options, output):
        net = ready(model, options)
        x = torch.randn(1, *model.input_shape, dtype=torch.float64)
        try:
            top = assert_same_paths(net, x, output, 1_200)
        except TooManyPathsError:
            assume(False)
        if top.magnitude > 0:
            compared.add((top.magnitude, options))

    compare()
    assert len(compared) > 50, f"only {len(compared)} different networks were compared"
    assert {options for _, options in compared} == set(OPTIONS)


ENUMERATED = {
    "fc": lambda: (ARCHITECTURES["fc"](2, (1, 2, 2), 2), (1, 2, 2)),
    "vconv": lambda: (ARCHITECTURES["vconv"](2, (1, 1, 2), 1), (1, 1, 2)),
    "gconv": lambda: (ARCHITECTURES["gconv"](2, (1, 1, 2), 1), (1, 1, 2)),
    "c4gap": lambda: (ARCHITECTURES["c4gap"](2, (1, 2, 2), widths=(1, 2, 1, 2)), (1, 2, 2)),
    "residual": lambda: (ResNet(1, 2, (1, 1, 2), 1, False), (1, 1, 2)),
    "dense blocks": lambda: (DenseBlocks(2), (3,)),
    "pools and skips": lambda: (PostActivation(), (1, 3, 3)),
    "max pools": lambda: (max_pool_chain(), (1, 4, 4)),
}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, "dlgn") for name in ENUMERATED),
        *(("max pools", options) for options in OPTIONS if options != "dlgn"),
        *(("residual", options) for options in OPTIONS if options not in ("dlgn", "switches")),
    ],
)
def test_architectures(name, options):
    if name == "dense blocks":
        torch.manual_seed(3)
    model, shape = ENUMERATED[name]()
    net = ready(enliven(model), options)
    x = torch.randn(1, *shape, dtype=torch.float64)
    assert_same_paths(net, x, 0, 60_000)


@given(st.integers(1, 40), st.integers(0, 10**6))
@settings(max_examples=20)
def test_the_first_k_are_the_k_largest(k, seed):
    torch.manual_seed(seed)
    net = ready(dense(3, 3, 2, 2, bias=True), "dgn")
    x = torch.randn(1, 3, dtype=torch.float64)
    k = min(k, int(PathSearch(net, x).top(0, 1).n_paths))
    magnitudes = sorted((abs(p.contribution) for p in listed_paths(net, x, 0)), reverse=True)
    found = [abs(path.contribution) for path in top_paths(net, x, 0, k).paths]
    assert found == pytest.approx([m for m in magnitudes[:k] if m > 0], rel=1e-12)


def test_the_difference_of_two_outputs():
    net, x = ready(dense(3, 4, 3)), torch.randn(1, 3, dtype=torch.float64)
    counts = {output: int(top_paths(net, x, output, 1).n_paths) for output in (2, 0)}
    every = [top_paths(net, x, output, count) for output, count in counts.items()]
    found = top_paths(net, x, 2, k=9, against=0)
    parts = [p.contribution for p in every[0].paths] + [-p.contribution for p in every[1].paths]
    parts.sort(key=lambda part: -abs(part))
    assert [path.contribution for path in found.paths] == pytest.approx(parts[:9], rel=1e-12)
    logits = net(x)[0].detach()
    assert found.total == pytest.approx(float(logits[2] - logits[0]), rel=1e-12)
    assert found.n_paths == len(parts)
    assert found.magnitude == pytest.approx(sum(map(abs, parts)), rel=1e-12)
    for path in found.paths:
        product = math.prod(node.factor for node in path.nodes) * path.coefficient
        assert path.contribution == pytest.approx(product, rel=1e-12)
        assert path.contribution == pytest.approx(path.feature * path.value, rel=1e-12)
        assert (path.coefficient < 0) == (path.nodes[-1].channel == 0)
    assert repr(found).startswith("TopPaths(output 2 - output 0")
    for against, message in ((2, "another output than 2"), (9, "against: expected")):
        with pytest.raises(PathKernelError, match=message):
            top_paths(net, x, 2, against=against)


@pytest.mark.parametrize(("name", "batch_norm"), DLGN_CASES)
def test_totals_of_every_architecture(name, batch_norm):
    net = ready(small_architecture(name, batch_norm), "dlgn")
    x = small_input(name, 1)
    top = top_paths(net, x, 2, k=3)
    with torch.no_grad():
        assert top.total == pytest.approx(float(net(x)[0, 2]), rel=1e-9)
    assert len(top.paths) == 3
    assert top.magnitude >= abs(top.total) * (1 - 1e-12)
    for path in top.paths:
        product = path.coefficient * math.prod(node.factor for node in path.nodes)
        assert path.contribution == pytest.approx(product, rel=1e-12)


def test_layer_norm_and_attention_are_refused():
    net = ready(TokenMixer(), "dgn")
    with pytest.raises(UnsupportedOperationError, match=r"^replay_layer_norm at .*contributions"):
        top_paths(net, torch.randn(1, 2, 3, dtype=torch.float64), 0, 3)


def test_paths_of_0_are_not_listed():
    model = dense(2, 2, 1)
    x = torch.tensor([[1.0, 0.0]]).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, 1.0]]))
    net = dv.disentangle(model, "dnn").eval()
    top = top_paths(net, x, 0, 4)  # unit 1 is off, and so is input 1
    assert (len(top.paths), top.n_paths) == (1, 4)
    assert top.share_of_magnitude == 1
    dead = top_paths(net, 0 * x, 0, 4)
    assert (dead.paths, dead.total, dead.magnitude) == ((), 0, 0)
    assert math.isnan(dead.share_of_total)
    assert math.isnan(dead.share_of_magnitude)


def test_ties_give_different_paths():
    model = dense(4, 5, 5, 5, 5, 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.3)
    net = dv.disentangle(model, "dnn").eval()
    top = top_paths(net, torch.ones(1, 4).double(), 0, 300)
    assert len({path.nodes for path in top.paths}) == 300
    assert [path.contribution for path in top.paths] == pytest.approx([0.3**5] * 300, rel=1e-12)
    everything = top_paths(net, torch.ones(1, 4).double(), 0, 4 * 5**4)
    assert len({path.nodes for path in everything.paths}) == 4 * 5**4
    assert everything.sum == pytest.approx(everything.total)


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_many_layers_neither_underflow_nor_overflow(size):
    model = dense(2, *[2] * 100, 1)
    with torch.no_grad():
        for index, layer in enumerate(model):
            if isinstance(layer, nn.Linear):
                even = (index // 2) % 2 == 0
                layer.weight.uniform_(1, 2).mul_(size if even else 1 / size)
    net = dv.disentangle(model, "dnn").eval()
    x = torch.ones(1, 2).double()
    best = torch.ones(2).double()
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                best = (layer.weight * best).amax(1)
    top = top_paths(net, x, 0, 5)
    assert top.paths[0].contribution == pytest.approx(float(best[0]), rel=1e-12)
    assert top.n_paths == 2.0**101


def test_sums_beyond_float64_are_whole_numbers():
    """Paths of 3 and -3 cancel at every layer: their sizes sum to 6^501, and they to 0."""
    model = dense(2, *[2] * 500, 1)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.fill_(3.0)
                layer.weight[:, 1] = -3.0
    net = dv.disentangle(model, "dgn", gate="hard", seed=0).eval()
    for layer in net.gating_network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.constant_(layer.weight, 0.5)  # all gates are on
    net.weights_network.load_state_dict(dict(model.state_dict()), strict=True)
    top = top_paths(net, torch.ones(1, 2).double(), 0, 2)
    assert top.total == 0
    assert top.n_paths == 2**501
    assert abs(Fraction(top.magnitude, 6**501) - 1) < 1e-12
    assert [abs(p.contribution) for p in top.paths] == pytest.approx([3.0**501] * 2, rel=1e-12)
    assert top.share_of_magnitude == pytest.approx(2 / 2**501, rel=1e-12)
    assert "inf" not in repr(top)
    json.dumps(top.to_rows(), allow_nan=False)


def test_one_search_for_several_outputs_and_nothing_changed():
    net = ready(max_pool_chain(), "switches")
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    x = images(1, size=4)
    state = torch.get_rng_state()
    search = PathSearch(net, x)
    for output in range(2):
        alone = top_paths(net, x, output, 7)
        assert search.top(output, 7) == alone
        assert search.top(output, 7).paths == PathSearch(net, x).top(output, 9).paths[:7]
    assert net.training
    assert all(module.training for module in net.modules())
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_one_example_with_or_without_its_axis():
    net = ready(max_pool_chain(), "dlgn")
    x = images(1, size=4)
    assert top_paths(net, x, 0, 5) == top_paths(net, x[0], 0, 5)
    vector = ready(dense(3, 2, 1), "dlgn")
    x = torch.randn(3, dtype=torch.float64)
    assert top_paths(vector, x, 0, 5) == top_paths(vector, x[None], 0, 5)


def test_gates_of_a_float32_network_are_its_own():
    net = gated(dense(6, 5, 4, 2, bias=True).float(), "dgn", gate="hard")
    x = torch.randn(1, 6)
    top = top_paths(net, x.double(), 1, 3)
    assert top.total == pytest.approx(float(net(x)[0, 1].detach()), rel=1e-5)
    gates = {(n.layer, n.channel): n.factor for p in top.paths for n in p.gated_units}
    for (layer, channel), factor in gates.items():
        assert factor == float(net.gates(x)[int(layer[-1]) - 1][0, channel])


def test_an_output_without_paths_is_refused():
    layer = nn.ConvTranspose1d(1, 1, 1, stride=2, bias=False)
    net = dv.disentangle(nn.Sequential(layer, nn.ReLU(), nn.Flatten()), "dnn")
    with pytest.raises(PathKernelError, match="output 1: no path leads to it"):
        top_paths(net, torch.ones(1, 1, 3), 1, 1)


def test_k_beyond_the_number_of_paths_is_refused_with_it():
    net = ready(dense(3, 2, 2, bias=True), "dlgn")
    x = torch.randn(1, 3, dtype=torch.float64)
    assert len(top_paths(net, x, 0, 9).paths) == 9  # 3 x 2 + 2 + 1
    with pytest.raises(PathKernelError, match=r"expected at most 9, the number of paths.*got 10"):
        top_paths(net, x, 0, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k: expected a whole number from 1 on, got 0"),
        ({"k": True}, "got True"),
        ({"k": 2.0}, r"got 2\.0"),
        ({"output": 2}, r"output: expected a whole number from 0 to 1"),
        ({"output": -1}, "got -1"),
        ({"output": "cat"}, "got 'cat'"),
        ({"output": False}, "got False"),
    ],
)
def test_wrong_arguments(arguments, message):
    net = ready(dense(3, 2, 2), "dlgn")
    options = {"output": 0, "k": 1, **arguments}
    with pytest.raises(PathKernelError, match=message):
        top_paths(net, torch.randn(1, 3, dtype=torch.float64), **options)


def test_constant_1_input_is_that_of_the_weights_network():
    net = ready(dense(3, 2, 1), "ones")
    top = top_paths(net, torch.randn(1, 3, dtype=torch.float64), 0, 6)
    assert {path.start.factor for path in top.paths} == {1.0}


def test_counts_beyond_float64():
    """4^601 paths from four inputs through 600 layers of four units, without biases."""
    chain = (part for _ in range(600) for part in (nn.Linear(4, 4, bias=False), nn.ReLU()))
    model = nn.Sequential(*chain, nn.Linear(4, 1, bias=False)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    top = top_paths(dv.disentangle(model, "dnn"), torch.ones(4).double(), 0, k=1)
    assert top.n_paths == 4**601
    assert f"{top.n_paths:.3g}" == "6.89e+361"
    assert "of 6.88739e+361 paths" in repr(top)
