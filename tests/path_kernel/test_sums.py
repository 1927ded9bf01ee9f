"""Sums of values.

- What are the same random values adds its factors, channel by channel; others stand side by side.
- A map that waits is one that has acted.
- What two terms share is counted where the channels are summed.
"""

from dataclasses import replace

import torch

from dualview.path_kernel.layout import Layout
from dualview.path_kernel.positions import apply_map
from dualview.path_kernel.spread import correlated, shared
from dualview.path_kernel.sums import added
from dualview.path_kernel.terms import NOWHERE, mapped, scaled, select_channels, settled
from tests.path_kernel.test_terms import LAYOUT, C, P, full, pool, term

TURNED = torch.tensor([1, 2, 3, 0])


def test_the_same_values_add_their_factors():
    t = term()
    other = replace(t, left=torch.ones_like(t.left), right=torch.ones_like(t.right))
    (merged,) = added((t,), (other,))
    torch.testing.assert_close(merged.left, t.left + 1)
    bare = replace(t, left=None, right=None, coefficient=-2.0)
    (merged,) = added((t,), (bare,))
    torch.testing.assert_close(merged.right, t.right - 2)
    (thrice,) = added((bare,), (replace(bare, coefficient=5.0),))
    assert thrice.coefficient == 3


def test_different_channels_of_one_origin_stand_side_by_side():
    t = term(factors=False)
    turned = select_channels(t, TURNED, LAYOUT)
    assert added((t,), (turned,)) == (t, turned)
    assert not list(correlated((t, turned)))
    # Two of four channels agree: there the factors add, and the rest stands beside them.
    one, rest = added((t,), (select_channels(t, torch.tensor([0, 3, 2, 1]), LAYOUT),))
    assert one.left[0, :, 0].tolist() == [2, 1, 2, 1]
    assert rest.left[0, :, 0].tolist() == [0, 1, 0, 1]
    assert rest.channels.tolist() == [NOWHERE, 3, NOWHERE, 1]


def test_channels_of_different_kernels_keep_their_own():
    t = term(groups=C, factors=False)
    one = Layout.of((1, P))
    first, second = (select_channels(t, torch.tensor([k]), one) for k in (0, 1))
    total = sum(full(part) for part in added((first,), (second,)))
    torch.testing.assert_close(total, full(t)[:, :, :1] + full(t)[:, :, 1:2])


def test_joined_parts_of_one_kernel_are_one_term():
    t, three = term(factors=False), Layout.of((3, P))
    front, back = torch.tensor([3, 0, NOWHERE]), torch.tensor([NOWHERE, NOWHERE, 1])
    (joined,) = added((select_channels(t, front, three),), (select_channels(t, back, three),))
    assert joined.channels.tolist() == [3, 0, 1]
    torch.testing.assert_close(full(joined), full(t)[:, :, [3, 0, 1]])


def test_a_map_that_waits_is_one_that_has_acted():
    t = term()
    bare = replace(t, left=None, right=None)
    one, other = (
        mapped(part, pool, "pool", Layout.of((C, 2)), selects=False) for part in (t, bare)
    )
    assert one.pending
    assert not other.pending
    for pair in ((one, other), (other, one)):
        (merged,) = added((pair[0],), (pair[1],))
        whole = full(replace(t, left=t.left + 1, right=t.right + 1))
        torch.testing.assert_close(settled(merged).kernel, apply_map(whole[None], pool, 1))


def test_independent_terms_stand_side_by_side():
    both = added((term(origin="a"),), (term(origin="b"),))
    assert len(both) == 2
    assert not list(correlated(both))


def test_the_same_values_seen_through_other_maps_share_what_they_share():
    t = scaled(term(factors=False), 2.0)
    flipped = mapped(t, lambda array: array.flip(1), "flip", LAYOUT, selects=True)
    ((one, other),) = correlated(added((t,), (flipped,)))
    found = full(shared(one, other))
    torch.testing.assert_close(found, full(t).flip(4) + full(t).flip(3))
    elsewhere = select_channels(flipped, TURNED, LAYOUT)
    assert not list(correlated(added((t,), (elsewhere,))))
