"""Terms of the covariance.

- The mean over channel groups is the explicit sum over channels, for every split of groups.
- Settling a pending map gives the map of the full per-channel covariance.
- Sums merge what has one source, keep the independent apart, and say no to the correlated.
"""

import pytest
import torch
from torch.nn import functional as F

from dualview.path_kernel.positions import apply_map
from dualview.path_kernel.terms import (
    Term,
    Value,
    added,
    channel_mean,
    diagonal_mean,
    mapped,
    settled,
)

C, P = 4, 3


def term(groups=1, factors=True, source="w"):
    def factor(n):
        return torch.randn(n, C, P, dtype=torch.float64) if factors else None

    kernel = torch.randn(1, 2, 3, groups, P, P, dtype=torch.float64)
    return Term(kernel, factor(2), factor(3), 0.0, source, frozenset({source}))


def full(t):
    """Covariance of every channel, (n1, n2, c, p, q)."""
    kernel = t.kernel[0].repeat_interleave(C // t.kernel.shape[3], 2)
    if t.left is None:
        return kernel.expand(2, 3, C, P, P)
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
    bare = Term(None, torch.randn(2, C, P), torch.randn(3, C, P), 0.0, "x", frozenset("x"))
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


def test_one_source_adds_factors():
    t = term()
    other = Term(t.kernel, torch.ones_like(t.left), torch.ones_like(t.right), 0.0, "w", t.roots)
    (merged,) = added((t,), (other,))
    torch.testing.assert_close(merged.left, t.left + 1)
    bare = Term(t.kernel, None, None, 0.0, "w", t.roots)
    (merged,) = added((t,), (bare,))
    torch.testing.assert_close(merged.right, t.right + 1)
    (twice,) = added((bare,), (bare,))
    assert twice.log_scale == pytest.approx(1.3862943611)


def test_independent_terms_stand_side_by_side():
    assert len(added((term(source="a"),), (term(source="b"),))) == 2


def test_correlated_terms_are_not_added():
    assert added((term(),), (term(),)) is None
