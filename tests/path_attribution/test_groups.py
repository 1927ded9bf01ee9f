"""Paths grouped by channels.

- Groups and their sums are those of all paths, searched for one by one, grouped by what they stop
  at: dense, convolutional, pooled, residual, densely connected and random networks.
- In a chain they are those of the oracle's list, which shares no code with any search.
- What begins at each position is that of the paths from there; all groups sum to what the paths
  from the input add; the difference of two outputs is that of each group's two sums.
- A narrow search finds sums that are exact, and a bound that holds for every other group; in dense
  networks it is always proven.
- Products beyond float64 are refused.
- Each wrong argument is refused with what was expected.
"""

import itertools
import math
from collections import defaultdict

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from dualview.errors import PathKernelError
from dualview.path_attribution.groups import top_path_groups
from dualview.path_attribution.strongest_paths import PathSearch
from tests.path_attribution.listed import listed_paths
from tests.path_enumeration.models import DenseBlocks, PostActivation, dense, gated
from tests.random_networks import Features, random_networks

ALL = 10_000
GRAPHS = Features(activations=("nn.ReLU()",), channels=2, size=4, steps=4)


def small_net():
    return nn.Sequential(
        nn.Conv2d(2, 3, 2), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(3, 2, (1, 2), padding=(0, 1)),
        nn.ReLU(), nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2),
    )  # fmt: skip


class Residual(nn.Module):
    """A block with an identity skip, and one with a projection, batch norm before the gate."""

    def __init__(self):
        super().__init__()
        self.first, self.block = nn.Conv1d(2, 2, 1), nn.Conv1d(2, 2, 2, padding="same")
        self.norm = nn.BatchNorm1d(2)
        self.wide, self.project = nn.Conv1d(2, 3, 2, stride=2), nn.Conv1d(2, 3, 1, stride=2)
        self.last = nn.Linear(3, 2)

    def forward(self, x):
        h = torch.relu(self.first(x))
        h = torch.relu(self.norm(self.block(h)) + h)
        h = torch.relu(self.wide(h)) + self.project(h)
        return self.last(h.mean(-1))


class Around(nn.Module):
    """One layer's channels come back by two routes without a stop, shifted against each other."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Conv1d(1, 2, 2), nn.Conv1d(2, 2, 2), nn.Linear(4, 2)

    def forward(self, x):
        h = torch.relu(self.first(x))
        h = h + nn.functional.pad(h, (1, 0))[..., :-1]
        return self.last(torch.relu(self.second(h)).flatten(1))


NETWORKS = {
    "dense": (lambda: dense(3, 4, 3, 2), (3,)),
    "flattened": (lambda: nn.Sequential(nn.Flatten(), *dense(8, 3, 2, 2)), (2, 2, 2)),
    "convolutional": (small_net, (2, 3, 3)),
    "grouped": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 4, 2), nn.ReLU(), nn.Conv1d(4, 4, 2, groups=2), nn.ReLU(),
            nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2)),
        (2, 4),
    ),
    "residual": (Residual, (2, 3)),
    "post-activation": (PostActivation, (1, 2, 2)),
    "densely connected": (lambda: DenseBlocks(2), (3,)),
    "around": (Around, (1, 4)),
}  # fmt: skip


def ready(name, kind="dlgn"):
    make, shape = NETWORKS[name]
    torch.manual_seed(3)
    return gated(make().double(), kind=kind).eval(), torch.randn(1, *shape).double()


def grouped(net, x, output):
    """Sums of all paths from the input, and of those from each position, by their stops."""
    search = PathSearch(net, x)
    every = search.top(output, int(search.top(output, 1).n_paths)).paths
    paths = [path for path in every if path.start.kind == "input"]
    last = {path.nodes[-1] for path in paths}
    own = len({(node.layer, node.channel) for node in last}) == 1 and all(
        node.kind == "weights" and node.position == () for node in last
    )
    found = defaultdict(lambda: defaultdict(list))
    for path in paths:
        nodes = path.nodes[:-1] if own else path.nodes
        key = tuple((node.layer, node.kind, node.channel) for node in nodes)
        found[key][path.start.position].append(path.contribution)
    return found


def keys(top):
    return {tuple((n.layer, n.kind, n.channel) for n in group.nodes): group for group in top.groups}


def assert_same_groups(net, x, output):
    want, top = grouped(net, x, output), top_path_groups(net, x, output, k=ALL)
    got = keys(top)
    scale = max(
        (math.fsum(map(abs, itertools.chain(*starts.values()))) for starts in want.values()),
        default=0.0,
    )
    for key, starts in want.items():
        total = math.fsum(itertools.chain(*starts.values()))
        if key not in got:
            assert abs(total) <= 1e-12 * scale, key
            continue
        assert got[key].contribution == pytest.approx(total, rel=1e-10, abs=1e-12 * scale)
        for place, parts in starts.items():
            assert got[key].starts[place] == pytest.approx(
                math.fsum(parts), rel=1e-9, abs=1e-12 * scale
            )
    assert got.keys() <= want.keys()
    sizes = [abs(group.contribution) for group in top.groups]
    assert sizes == sorted(sizes, reverse=True)
    assert top.is_proven
    assert top.sum == pytest.approx(top.from_input, rel=1e-9, abs=1e-12 * scale)
    assert top.total == pytest.approx(net(x)[0, output].item(), rel=1e-9)
    return top


@pytest.mark.parametrize("name", NETWORKS)
def test_all_groups_of_all_paths(name):
    assert_same_groups(*ready(name), 0)


@pytest.mark.parametrize("kind", ["dnn", "dgn"])
def test_of_other_kinds(kind):
    assert_same_groups(*ready("convolutional", kind), 1)


@settings(max_examples=25)
@given(random_networks(GRAPHS), st.integers(0, 1))
def test_random_networks(model, output):
    net = gated(model.double(), kind="dlgn").eval()
    x = torch.randn(1, *model.input_shape, dtype=torch.float64)
    search = PathSearch(net, x)
    assume(search.top(output, 1).n_paths <= 1500)
    assert_same_groups(net, x, output)


def test_a_chain_by_the_oracle():
    net, x = ready("convolutional")
    want = defaultdict(list)
    for path in listed_paths(net, x, 1, limit=ALL):
        source, gates = path.key
        if source is not None:
            want[source[0], *(unit[0] for _, unit in gates)].append(path.contribution)
    for group in top_path_groups(net, x, 1, k=ALL).groups:
        channels = tuple(node.channel for node in group.nodes if node.kind != "weights")
        assert group.contribution == pytest.approx(math.fsum(want.pop(channels)), rel=1e-9)
    assert all(abs(math.fsum(parts)) < 1e-15 for parts in want.values())


def test_the_difference_of_two_outputs():
    net, x = ready("convolutional")
    first, second = (keys(top_path_groups(net, x, output, k=ALL)) for output in (0, 1))
    top = top_path_groups(net, x, 0, k=ALL, against=1)
    for key, group in keys(top).items():
        difference = first[key].contribution - second[key].contribution
        assert group.contribution == pytest.approx(difference, rel=1e-9, abs=1e-15)
    assert top.total == pytest.approx((net(x)[0, 0] - net(x)[0, 1]).item(), rel=1e-9)


@pytest.mark.parametrize("name", ["dense", "flattened", "convolutional", "residual"])
def test_a_narrow_search(name):
    net, x = ready(name)
    every = top_path_groups(net, x, 0, k=ALL)
    top = top_path_groups(net, x, 0, k=2, width=2)
    exact = keys(every)
    for key, group in keys(top).items():
        assert group.contribution == pytest.approx(exact[key].contribution, rel=1e-9)
    others = [abs(g.contribution) for key, g in exact.items() if key not in keys(top)]
    assert max(others) <= top.others_at_most * (1 + 1e-9)
    if name in ("dense", "flattened"):
        assert top.is_proven
        assert keys(top).keys() == keys(top_path_groups(net, x, 0, k=2)).keys()
    assert ("the strongest found" in repr(top)) == (not top.is_proven)


def test_products_beyond_float64():
    net, x = ready("dense")
    for parameter in net.weights_network.parameters():
        parameter.data *= 1e200
    with pytest.raises(PathKernelError, match=r"beyond float64.*top_paths"):
        top_path_groups(net, 1e-300 * x, 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"output": 2}, "output: expected a whole number from 0 to 1"),
        ({"output": 0, "k": 0}, "k: expected a whole number from 1 on"),
        ({"output": 0, "width": 0}, "width: expected a whole number from 1 on"),
        ({"output": 0, "against": 0}, "against: expected another output"),
        ({"output": 0, "memory": 10.0}, "memory"),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(PathKernelError, match=message):
        top_path_groups(*ready("dense"), **wrong)
