"""Properties proved here.

1. Every weight is +sqrt(2 / width) or -sqrt(2 / width) exactly, about half of each; there are no
   biases, six weight layers and one output. In a DGN or DLGN so are both networks, which differ;
   the gating network starts from the DNN's.
2. The same seed gives the same network whatever is random outside, another seed another one.
3. The kernel is the one that enumerating all paths gives, at hard gates, for a plain network, a DGN
   and a DLGN; the network is left as it was.
4. What is measured is the complexity written out with that kernel.
5. It is measured every so many epochs and after the last.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn

from dualview.conversion.disentangling import disentangle
from dualview.experiments.alignment.measure import (
    alignment_measure,
    build_network,
    draw_signs,
    hard_npk,
)
from dualview.path_enumeration import enumerated_npk

KINDS = ("dnn", "dgn", "dlgn")
SHAPE = (1, 3, 4)


def _build(kind, seed=0, width=50):
    return build_network(kind, seed, SHAPE, width=width, beta=4.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [50, 7])
def test_weights(kind, width):
    net = _build(kind, width=width)
    expected = torch.tensor(math.sqrt(2 / width))
    for name, weight in net.named_parameters():
        assert name.endswith("weight")
        assert torch.equal(weight.abs(), expected.expand(weight.shape))
        if weight.numel() >= 500:
            assert abs((weight > 0).float().mean() - 0.5) < 4 * 0.5 / weight.numel() ** 0.5
    layers = [m for m in net.modules() if isinstance(m, nn.Linear)]
    assert len(layers) == (6 if kind == "dnn" else 6 + 5)
    assert all(layer.bias is None for layer in layers)
    assert net(torch.randn(2, *SHAPE)).shape == (2, 1)
    assert net.training


@pytest.mark.parametrize("kind", ["dgn", "dlgn"])
def test_two_networks(kind):
    net, plain = _build(kind), _build("dnn")
    gating = list(net.gating_network.parameters())
    for own, other, dnn in zip(
        gating, net.weights_network.parameters(), plain.parameters(), strict=False
    ):
        assert torch.equal(own, dnn)
        assert not torch.equal(own, other)


def test_seed_decides():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    nets = [_build("dlgn", seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    first, again, other = (torch.cat([p.flatten() for p in net.parameters()]) for net in nets)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def _tiny(kind):
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(4, 3, bias=False),
        nn.ReLU(),
        nn.Linear(3, 3, bias=False),
        nn.ReLU(),
        nn.Linear(3, 1, bias=False),
    )
    draw_signs(model, 3)
    with torch.no_grad():  # else gates of equal inputs tie at 0
        model[1].weight += 0.1 * torch.randn(3, 4)
    return model if kind == "dnn" else disentangle(model, kind, seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_kernel_is_that_of_all_paths(kind):
    net, x = _tiny(kind), torch.randn(6, 1, 2, 2, dtype=torch.float64)
    before = {name: p.clone() for name, p in net.state_dict().items()}
    net.train()
    kernel = hard_npk(net, x)
    gated = disentangle(net, kind="dnn") if kind == "dnn" else net
    expected = enumerated_npk(gated.eval().double(), x, gates="hard")
    # One normalises the weights' variances, which no alignment depends on.
    torch.testing.assert_close(kernel / kernel.trace(), expected / expected.trace())
    assert kernel.dtype == torch.float64
    for name, p in before.items():
        assert torch.equal(net.state_dict()[name].float(), p)


def test_complexity_written_out():
    net = _tiny("dnn")
    x = torch.rand(5, 1, 2, 2, dtype=torch.float64) + torch.arange(5.0).reshape(5, 1, 1, 1)
    x = torch.cat([x[:3], -x[:1]])
    labels = torch.tensor([0, 1, 1, 0])
    measure = alignment_measure(x, labels, every=1, epochs=9)
    taken = measure(net, 3)
    kernel = enumerated_npk(disentangle(net.double(), kind="dnn"), x, gates="hard").numpy()
    signs = np.array([-1.0, 1.0, 1.0, -1.0])
    expected = signs @ np.linalg.inv(kernel / np.trace(kernel)) @ signs
    assert np.linalg.matrix_rank(kernel) == 4
    assert taken["complexity"] == pytest.approx(expected, rel=1e-8)
    assert (taken["epoch"], taken["rank"]) == (3, 4)


def test_when_it_measures():
    x = torch.randn(4, 1, 2, 2, dtype=torch.float64)
    measure = alignment_measure(x, torch.tensor([0, 1, 0, 1]), every=3, epochs=7)
    net = _tiny("dnn")
    assert [epoch for epoch in range(8) if measure(net, epoch) is not None] == [0, 3, 6, 7]
