"""Listing and counting paths.

- The paths of a dense network are those of the definition, entry by entry, biases included.
- Counts are exact: by the formulas for dense, convolutional and residual networks, and equal to the
  number of paths listed.
- Coefficients are those of the pools: 1/m, whatever the padding and rounding rules.
- Too many paths are refused with the count and the repair; so are networks that are too large, and
  LayerNorm and attention.
"""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dualview.architectures import ARCHITECTURES
from dualview.errors import TooManyPathsError, UnsupportedOperationError
from dualview.path_enumeration import (
    GateUnit,
    Path,
    Weight,
    count_paths,
    path_features,
    path_values,
    paths,
)
from tests.cases import TokenMixer
from tests.path_enumeration.models import DenseBlocks, Pooled, PostActivation, dense, gated


def test_paths_of_a_dense_network_by_definition():
    found = set(paths(gated(dense(3, 2, 2)), (3,)))
    expected = {
        Path(
            output=o,
            source=(i,),
            weights=(Weight("0.weight", (h, i)), Weight("2.weight", (o, h))),
            gates=(GateUnit("gate_1", (h,)),),
            coefficient=1.0,
        )
        for o, h, i in itertools.product(range(2), range(2), range(3))
    }
    assert found == expected


def test_biases_are_paths_from_the_constant_one():
    found = [p for p in paths(gated(dense(3, 2, 1, bias=True)), (3,)) if p.source is None]
    hidden = {
        Path(
            0,
            None,
            (Weight("0.bias", (h,)), Weight("2.weight", (0, h))),
            (GateUnit("gate_1", (h,)),),
            1.0,
        )
        for h in range(2)
    }
    assert set(found) == hidden | {Path(0, None, (Weight("2.bias", (0,)),), (), 1.0)}


@given(st.lists(st.integers(1, 4), min_size=3, max_size=5), st.booleans())
@settings(max_examples=20)
def test_count_of_dense_networks(widths, bias):
    starts = range(1, len(widths)) if bias else []
    expected = math.prod(widths) + sum(math.prod(widths[start:]) for start in starts)
    net = gated(dense(*widths, bias=bias))
    assert count_paths(net, (widths[0],)) == expected
    assert len(paths(net, (widths[0],))) == expected


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
def test_count_of_convolutions(mode):
    """Zero padding has 2 or 3 of 3 offsets at a position of a line of 4; other padding always 3."""
    conv = nn.Conv1d(2, 3, 3, padding=1, bias=False, padding_mode=mode)
    net = gated(nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(12, 1, bias=False)))
    offsets = 2 + 3 + 3 + 2 if mode == "zeros" else 4 * 3
    assert count_paths(net, (2, 4)) == 2 * 3 * offsets


@pytest.mark.parametrize("blocks", range(4))
def test_count_of_residual_networks_is_the_ensembles(blocks):
    net = gated(DenseBlocks(blocks, depth=2, width=2, inputs=3))
    chains = sum(math.comb(blocks, j) * 3 * 2 ** (2 * (j + 1) + 1) for j in range(blocks + 1))
    assert count_paths(net, (3,)) == chains


@pytest.mark.parametrize("batch_norm", [False, True])
def test_count_is_the_output_of_a_network_of_ones(batch_norm):
    net = gated(PostActivation(batch_norm))
    listed = paths(net, (1, 3, 3))
    assert len(listed) == count_paths(net, (1, 3, 3))
    assert len(set(listed)) == len(listed)
    network = net.weights_network.double()
    ones = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1)
        if batch_norm:  # its scale is no edge of its own; its shift is two: the bias and the mean
            norm = network.get_submodule("norm")
            norm.bias.fill_(2)
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
        gates = [torch.ones_like(gate) for gate in net.gates(ones)]
        total = network(ones, *gates)
    # The mean over 2 x 2 positions is the one coefficient that is not 1; the last bias skips it.
    assert round(float(total.sum() - 2) * 4 + 2) == len(listed)


@pytest.mark.parametrize(
    ("pool", "windows"),
    [
        # A line of 5: for each output, the positions in its window and what it divides by.
        (nn.AvgPool1d(2), [([0, 1], 2), ([2, 3], 2)]),
        (nn.AvgPool1d(2, ceil_mode=True), [([0, 1], 2), ([2, 3], 2), ([4], 1)]),
        (nn.AvgPool1d(3, 2, 1), [([0, 1], 3), ([1, 2, 3], 3), ([3, 4], 3)]),
        (
            nn.AvgPool1d(3, 2, 1, count_include_pad=False),
            [([0, 1], 2), ([1, 2, 3], 3), ([3, 4], 2)],
        ),
        (nn.AdaptiveAvgPool1d(2), [([0, 1, 2], 3), ([2, 3, 4], 3)]),
    ],
    ids=str,
)
def test_coefficients_of_average_pools(pool, windows):
    model = nn.Sequential(
        pool, nn.Linear(len(windows), len(windows), bias=False), nn.ReLU(), nn.Flatten()
    )
    listed = {
        (path.source[1], path.weights[0].coordinates[1]): path.coefficient
        for path in paths(gated(model), (1, 5))
    }
    expected = {(i, w): 1 / m for w, (window, m) in enumerate(windows) for i in window}
    assert listed == pytest.approx(expected, rel=1e-15)


def test_switch_chooses_within_the_window_only():
    net = gated(Pooled(nn.MaxPool2d(2)), "dgn")
    switches = {
        (gate.coordinates, gate.chosen)
        for path in paths(net, (1, 5, 5))
        for gate in path.gates
        if gate.site == "switch_1"
    }
    # The pool reads 4 x 4 positions in windows of 2 x 2.
    expected = {
        ((c, h, w), 4 * (2 * h + i) + 2 * w + j)
        for c, h, w, i, j in itertools.product(range(2), repeat=5)
    }
    assert switches == expected


def test_too_many_paths_are_refused_with_the_count():
    net = gated(dense(4, 5, 6, 2))
    with pytest.raises(TooManyPathsError, match=r"240 paths.*at most 239.*dv\.npk"):
        paths(net, (4,), limit=239)
    assert len(paths(net, (4,), limit=240)) == 240


def test_counts_are_exact_integers_beyond_what_floats_hold():
    net = gated(dense(*[3] * 41))
    assert count_paths(net, (3,)) == 3**41
    with pytest.raises(TooManyPathsError, match=str(3**41)):
        paths(net, (3,))


def test_full_size_networks_are_refused_before_they_are_spelled_out():
    net = gated(ARCHITECTURES["c4gap"](input_shape=(3, 32, 32), width=8))
    with pytest.raises(TooManyPathsError, match=r"e\+\d+ paths.*tiny network.*dv\.npk"):
        count_paths(net, (3, 32, 32))


@pytest.mark.parametrize("affine", [False, True])
def test_layer_norm_and_attention_are_refused(affine):
    net = gated(TokenMixer(affine).double(), kind="dgn")
    with pytest.raises(UnsupportedOperationError, match=r"^replay_layer_norm at .*npk_features"):
        path_features(net, torch.zeros(1, 2, 3))
    with pytest.raises(UnsupportedOperationError, match=r"LayerNorm and attention multiply"):
        path_values(net, (2, 3))
