"""Properties proved here, against the Jacobian in float64.

1. What rows of gates read is exactly what their filters hold, whatever the operations are, for any
   block of probes: grouped and depthwise convolutions, shuffles, upsampling, transposed and
   circular convolutions, pools, skips; and closed gates read nothing.
2. Spans of one colour have nothing in common, and no fewer colours would do.
"""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dualview.primal.windows import Reads, probed
from tests.primal.linear_maps import LAYERS, linear_of, matrix_of


@pytest.mark.parametrize("block", [1, 5, 1000])
@pytest.mark.parametrize("name", LAYERS)
def test_what_rows_read(name, block):
    model, shape = LAYERS[name]()
    linear = linear_of(model, shape)
    gates = torch.arange(matrix_of(linear).shape[0])[1::2]
    filters = matrix_of(linear)[gates].reshape(-1, *shape) != 0
    places = torch.unravel_index(gates, linear.gate_shape)[1:]
    for axis, (reads, place) in enumerate(zip(probed(linear, gates, block), places, strict=True)):
        read = filters.movedim(axis + 2, 1).flatten(2).any(2)
        assert set(reads.spans) == set(place.tolist())
        for row, span in reads.spans.items():
            where = read[place == row].any(0).nonzero().flatten().tolist() or [0, -1]
            assert span == (where[0], where[-1] + 1)


def test_what_is_closed_reads_nothing():
    closed = nn.Conv2d(1, 2, 3)
    nn.init.zeros_(closed.weight)
    linear = linear_of(closed, (1, 5, 6))
    assert set(probed(linear, torch.arange(24), 9)[1].spans.values()) == {(0, 0)}


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5)), max_size=12))
def test_colours(spans):
    reads = Reads(20, {n: (start, start + length) for n, (start, length) in enumerate(spans)})
    colours = reads.colours()
    for a, b in itertools.combinations(colours, 2):
        (first, end), (second, other) = reads.spans[a], reads.spans[b]
        assert colours[a] != colours[b] or min(end, other) <= max(first, second)
    most = max((sum(a <= p < b for a, b in reads.spans.values()) for p in range(20)), default=0)
    empty = any(a == b for a, b in reads.spans.values())
    assert len(set(colours.values())) <= max(most + empty, bool(spans))
