"""Terms of the covariance.

- The mean over channel groups is the explicit sum over channels, for every split of groups.
- Settling a pending map gives the map of the full per-channel covariance.
- Sums merge what are the same random values, channel by channel, keep the independent apart, and
  say no to the correlated.
- Selections of channels are those of the whole, with one kernel and with a kernel a group.
"""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from dualview.path_kernel.positions import apply_map
from dualview.path_kernel.terms import (
    NOWHERE,
    Term,
    Value,
    added,
    channel_mean,
    diagonal_mean,
    mapped,
    own_channels,
    select_channels,
    settled,
)

C, P = 4, 3


def term(groups=1, factors=True, origin="w"):
    def factor(n):
        return torch.randn(n, C, P, dtype=torch.float64) if factors else None

    kernel = torch.randn(1, 2, 3, groups, P, P, dtype=torch.float64)
    return Term(kernel, factor(2), factor(3), 0.0, origin, own_channels(C))


def full(t):
    """Covariance of every channel, (n1, n2, c, p, q)."""
    c = len(t.channels)
    kernel = t.kernel[0].repeat_interleave(c // t.kernel.shape[3], 2) * t.coefficient**2
    if t.left is None:
        return kernel.expand(2, 3, c, P, P)
    return kernel * t.left[:, None, :, :, None] * t.right[None, :, :, None, :]


@pytest.mark.parametrize("have", [1, 2, 4])
@pytest.mark.parametrize("want", [1, 2, 4])
@pytest.mark.parametrize("factors", [True, False])
def test_mean_over_groups(have, want, factors):
    t = term(have, factors)
    got = channel_mean(t, Value((t,), C, (P,)), want)
    expected = full(t).unflatten(2, (want, C // want)).mean(3)
    torch.testing.assert_close(got[0].expand_as(expected), expected)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("factors", [True, False])
def test_diagonal_mean(groups, factors):
    t = term(groups, factors)
    got = diagonal_mean(t, Value((t,), C, (P,), flat=True))
    expected = full(t).diagonal(dim1=-2, dim2=-1).mean((-2, -1))
    torch.testing.assert_close(got[0, ..., 0], expected)
    bare = Term(None, torch.randn(2, C, P), torch.randn(3, C, P), 0.0, "x", own_channels(C))
    got = diagonal_mean(bare, Value((bare,), C, (P,), flat=True))
    expected = torch.einsum("acp,bcp->ab", bare.left, bare.right) / (C * P)
    torch.testing.assert_close(got[0, ..., 0], expected)


def test_pending_map_settles_to_the_map_of_the_whole():
    t = term()
    value = Value((t,), C, (P,))

    def pool(image):
        return F.avg_pool1d(image, 2, 1)

    waiting = mapped(t, value, pool, "pool", selects=False)
    assert waiting.pending
    expected = apply_map(full(t)[None], pool, 1)
    torch.testing.assert_close(settled(waiting, value).kernel, expected)
    torch.testing.assert_close(channel_mean(waiting, value), expected.mean(3, keepdim=True))


def test_selecting_map_needs_no_wait():
    t = term()
    value = Value((t,), C, (P,))
    got = mapped(t, value, lambda image: image[..., ::2], "slice", selects=True)
    assert not got.pending
    torch.testing.assert_close(full(got), full(t)[..., ::2, ::2])


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
    turned = select_channels(t, torch.tensor([1, 2, 3, 0]))
    assert added((t,), (turned,)) == (t, turned)
    # Two of four channels agree: there the factors add, and the rest stands beside them.
    one, rest = added((t,), (select_channels(t, torch.tensor([0, 3, 2, 1])),))
    assert one.left[0, :, 0].tolist() == [2, 1, 2, 1]
    assert rest.left[0, :, 0].tolist() == [0, 1, 0, 1]
    assert rest.channels.tolist() == [NOWHERE, 3, NOWHERE, 1]


def test_channels_of_different_kernels_keep_their_own():
    t = term(groups=C, factors=False)
    first, second = (select_channels(t, torch.tensor([k])) for k in (0, 1))
    both = added((first,), (second,))
    assert both is not None
    total = sum(full(part) for part in both)
    torch.testing.assert_close(total, full(t)[:, :, :1] + full(t)[:, :, 1:2])


def test_joined_parts_of_one_kernel_are_one_term():
    t = term(factors=False)
    front, back = torch.tensor([3, 0, NOWHERE]), torch.tensor([NOWHERE, NOWHERE, 1])
    (joined,) = added((select_channels(t, front),), (select_channels(t, back),))
    assert joined.channels.tolist() == [3, 0, 1]
    torch.testing.assert_close(full(joined), full(t)[:, :, [3, 0, 1]])


def test_a_map_that_waits_is_one_that_has_acted():
    def pool(image):
        return F.avg_pool1d(image, 2, 1)

    t = term()
    bare = replace(t, left=None, right=None)
    value = Value((t,), C, (P,))
    one, other = (mapped(part, value, pool, "pool", selects=False) for part in (t, bare))
    assert one.pending
    assert not other.pending
    for pair in ((one, other), (other, one)):
        (merged,) = added((pair[0],), (pair[1],))
        whole = full(replace(t, left=t.left + 1, right=t.right + 1))
        torch.testing.assert_close(settled(merged, value).kernel, apply_map(whole[None], pool, 1))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("factors", [True, False])
def test_selections_of_channels(groups, factors):
    t = term(groups, factors)
    got = select_channels(t, torch.tensor([3, NOWHERE, 0, 0, 2]))
    expected = full(t)[:, :, [3, 0, 0, 0, 2]]
    expected[:, :, 1] = 0
    torch.testing.assert_close(full(got), expected)
    assert got.channels.tolist() == [3, NOWHERE, 0, 0, 2]


def test_independent_terms_stand_side_by_side():
    assert len(added((term(origin="a"),), (term(origin="b"),))) == 2


def test_the_same_values_seen_through_other_maps_are_not_added():
    t = term(factors=False)
    moved = mapped(t, Value((t,), C, (P,)), lambda image: image.flip(2), "flip", selects=True)
    assert added((t,), (moved,)) is None
    assert len(added((t,), (select_channels(moved, torch.tensor([1, 0, 3, 2])),))) == 2
