"""Maps over positions.

- `apply_map` multiplies both position axes by the map's matrix.
- `window_sum` is the sum that its docstring writes, by explicit loops.
"""

import itertools

import pytest
import torch
from torch.nn import functional as F

from dualview.path_kernel.positions import apply_map, swap_positions, window_sum


def kernel(*positions):
    return torch.randn(2, 1, 2, 2, *positions, *positions, dtype=torch.float64)


def test_map_on_both_axes():
    k = kernel(3, 4)
    matrix = F.avg_pool2d(torch.eye(12, dtype=torch.float64).reshape(12, 1, 3, 4), 2, 1)
    matrix = matrix.reshape(12, -1).T  # (new positions, old positions)
    got = apply_map(k, lambda image: F.avg_pool2d(image, 2, 1), 2)
    expected = matrix @ k.reshape(2, 1, 2, 2, 12, 12) @ matrix.T
    torch.testing.assert_close(got, expected.reshape(2, 1, 2, 2, 2, 3, 2, 3))


def test_swap():
    k = kernel(3, 4)
    assert torch.equal(swap_positions(k, 2)[..., 0, 1, 2, 3], k[..., 2, 3, 0, 1])


@pytest.mark.parametrize(
    ("size", "stride", "dilation"),
    [((3, 2), (1, 1), (1, 1)), ((2, 3), (2, 1), (1, 2)), ((1, 1), (2, 3), (1, 1))],
)
def test_window_sum(size, stride, dilation):
    k = kernel(5, 6)
    got = window_sum(k, size, stride, dilation)
    for p in itertools.product(range(got.shape[4]), range(got.shape[5])):
        for q in itertools.product(range(got.shape[6]), range(got.shape[7])):
            expected = 0
            for delta in itertools.product(range(size[0]), range(size[1])):
                at = [
                    s * i + d * t
                    for point in (p, q)
                    for s, i, d, t in zip(stride, point, dilation, delta, strict=True)
                ]
                expected = expected + k[..., at[0], at[1], at[2], at[3]]
            torch.testing.assert_close(got[..., p[0], p[1], q[0], q[1]], expected)
