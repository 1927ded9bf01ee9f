"""Properties proved here.

1. All kinds have the same width and depth; a DGN and a DLGN have the same number of parameters, and
   their gating networks start from the DNN's.
2. Biases are drawn, not 0, so that gates of functions of one number change at different points.
3. The same seed gives the same network, and PyTorch's random state is kept.
4. C4GAP with circular padding gives the same logits for an image and its rotations.
"""

import pytest
import torch
from torch import nn

from dualview.experiments.networks import count_parameters
from dualview.experiments.spectrum.networks import circular_c4gap, function_network
from dualview.experiments.spectrum.scores import COMPARED_KINDS


def _function(kind, seed=0):
    return function_network(kind, seed, dimension=1, width=6, depth=4, beta=4.0)


def _image(kind, seed=0):
    return circular_c4gap(kind, seed, num_classes=3, input_shape=(2, 6, 6), width=5, beta=4.0)


@pytest.mark.parametrize("build", [_function, _image])
def test_kinds_match(build):
    dnn, dgn, dlgn = (build(kind) for kind in ("dnn", "dgn", "dlgn"))
    assert count_parameters(dgn) == count_parameters(dlgn)
    head = [m for m in dnn.modules() if isinstance(m, nn.Linear)][-1]
    without_head = count_parameters(dnn) - count_parameters(head)
    assert count_parameters(dlgn) == count_parameters(dnn) + without_head
    own = dict(dnn.named_parameters())
    for net in (dgn, dlgn):
        for name, p in net.gating_network.named_parameters():
            assert torch.equal(p, own[name])
        assert net.training


def test_gates_change_at_different_points():
    net = _function("dlgn")
    with torch.no_grad():
        at_zero, at_one = (net.preactivations(torch.full((1, 1), x)) for x in (0.0, 1.0))
    for low, high in zip(at_zero, at_one, strict=True):
        points = (-low / (high - low))[0]
        assert len(points.unique()) == 6


@pytest.mark.parametrize("kind", COMPARED_KINDS)
@pytest.mark.parametrize("build", [_function, _image])
def test_seed_decides(build, kind):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again, other = (build(kind, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("kind", COMPARED_KINDS)
def test_rotations_of_an_image(kind):
    net, image = _image(kind).eval().double(), torch.randn(1, 2, 6, 6, dtype=torch.float64)
    for shift in ((1, 0), (2, 5)):
        torch.testing.assert_close(net(image.roll(shift, (2, 3))), net(image))
