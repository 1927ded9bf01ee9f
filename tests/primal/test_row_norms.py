"""Properties proved here, against the Jacobian in float64.

1. Norms of chosen rows are those of the Jacobian: by gate, by group and by colour, for any block,
   of every kind of layer, whichever gates are chosen.
2. The way with the fewest passes is taken; where gates read a part of the image, many share one.
3. Every pass is told.
4. Impulses of all colours hit every input entry exactly once.
"""

import pytest
import torch

from dualview.primal.row_norms import _by_colour, _by_gate, _by_group, cheapest, impulses
from dualview.primal.windows import probed
from tests.primal.linear_maps import LAYERS, grouped, linear_of, matrix_of, wide
from tests.primal.oracle import assert_close


@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("name", LAYERS)
def test_all_ways_are_exact(name, block):
    model, shape = LAYERS[name]()
    linear = linear_of(model, shape)
    rows = matrix_of(linear)
    every = torch.arange(len(rows))
    for gates in (every, every[torch.randperm(len(every))[: len(every) // 2]]):
        reads = probed(linear, gates, block)
        spacing = (shape[0], *(axis.longest for axis in reads))
        told = []
        expected = rows[gates].square().sum(1)
        assert_close(_by_gate(linear, gates, block, told.append), expected)
        assert_close(_by_colour(linear, gates, spacing, block, told.append), expected)
        by_group = _by_group(linear, gates, reads)
        assert_close(by_group.squares(block, told.append), expected)
        assert sum(told) == len(gates) + torch.tensor(spacing).prod() + by_group.passes
        best = cheapest(linear, gates, block, shape)
        assert_close(best.squares(block, told.append), expected)


@pytest.mark.parametrize("spacing", [(2, 3, 2), (1, 5, 4), (2, 1, 1)])
@pytest.mark.parametrize("block", [1, 4, 100])
def test_impulses_hit_every_entry_once(spacing, block):
    blocks = list(impulses(torch.zeros(1, 2, 5, 4), spacing, block))
    assert all(len(images) <= block for images in blocks)
    images = torch.cat(blocks)
    assert torch.equal(images.sum(0), torch.ones(2, 5, 4))
    assert len(images) == spacing[0] * spacing[1] * spacing[2]


def test_many_gates_share_passes():
    model = grouped()[0]
    linear = linear_of(model, (4, 24, 24))
    some = torch.arange(12 * 12)
    groups = cheapest(linear, some, 100, linear.input_shape)
    assert groups.passes == 16  # a gate reads 7 pixels, 2 of which it is from the next
    assert cheapest(linear, some[:5], 100, linear.input_shape).passes == 5
    assert_close(groups.squares(8, lambda _: None), matrix_of(linear)[some].square().sum(1))
    deep = linear_of(*wide())
    assert cheapest(deep, torch.arange(90), 100, deep.input_shape).passes == 30


def test_no_gates():
    linear = linear_of(*grouped())
    nothing = cheapest(linear, torch.arange(0), 5, linear.input_shape)
    assert nothing.squares(5, lambda _: None).shape == (0,)
