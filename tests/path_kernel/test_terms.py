"""Terms of the covariance.

- Settling a pending map gives the map of the full per-channel covariance.
- Selections of channels are those of the whole, with one kernel and with a kernel a group.
- Positions come in the order of the tensor, channels too.
"""

import pytest
import torch
from torch.nn import functional as F

from dualview.path_kernel.layout import Layout
from dualview.path_kernel.positions import apply_map
from dualview.path_kernel.terms import (
    NOWHERE,
    Term,
    in_order,
    mapped,
    own_channels,
    select_channels,
    settled,
    whole_kernel,
)

C, P = 4, 3
LAYOUT = Layout.of((C, P))


def term(groups=1, factors=True, origin="w", layout=LAYOUT):
    def factor(n):
        return torch.randn(n, C, *positions, dtype=torch.float64) if factors else None

    positions = layout.positions
    kernel = torch.randn(1, 2, 3, groups, *positions, *positions, dtype=torch.float64)
    left, right = factor(2), factor(3)
    return Term(kernel, left, right, 0.0, origin, own_channels(C), layout, root=origin)


def full(t):
    """Covariance of every channel, (n1, n2, c, p, q)."""
    kernel = whole_kernel(t)[0] * t.coefficient**2
    return kernel.expand(-1, -1, t.layout.channels, -1, -1)


def pool(array):
    return F.avg_pool1d(array, 2, 1)


def test_pending_map_settles_to_the_map_of_the_whole():
    t = term()
    waiting = mapped(t, pool, "pool", Layout.of((C, 2)), selects=False)
    assert waiting.pending
    expected = apply_map(full(t)[None], pool, 1)
    torch.testing.assert_close(settled(waiting).kernel, expected)


def test_selecting_map_needs_no_wait():
    t = term()
    got = mapped(t, lambda array: array[..., ::2], "slice", Layout.of((C, 2)), selects=True)
    assert not got.pending
    torch.testing.assert_close(full(got), full(t)[..., ::2, ::2])


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("factors", [True, False])
def test_selections_of_channels(groups, factors):
    t = term(groups, factors)
    got = select_channels(t, torch.tensor([3, NOWHERE, 0, 0, 2]), Layout.of((5, P)))
    expected = full(t)[:, :, [3, 0, 0, 0, 2]].clone()
    expected[:, :, 1] = 0
    torch.testing.assert_close(full(got), expected)
    assert got.channels.tolist() == [3, NOWHERE, 0, 0, 2]


def test_positions_and_channels_in_the_order_of_the_tensor():
    layout = Layout((2, 2, 3, 5), 2, ((3,), (1,), (2,), (0,)))  # (5, 2, 3, 2)
    t = term(groups=4, layout=layout)
    got = in_order(t)
    assert got.layout == Layout.of((5, 2, 3, 2), (1, 3))
    left = layout.as_tensor(t.left)
    torch.testing.assert_close(got.layout.as_tensor(got.left), left)
    kernel = t.kernel.reshape(1, 2, 3, 2, 2, 3, 5, 3, 5).permute(0, 1, 2, 4, 3, 6, 5, 8, 7)
    torch.testing.assert_close(got.kernel, kernel.reshape(1, 2, 3, 4, 5, 3, 5, 3))
