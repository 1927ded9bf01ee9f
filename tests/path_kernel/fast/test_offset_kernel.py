"""The compiled loops, against their definitions written out.

- A column of a dense network: inner product x scales x channels on in both, layer by layer, in
  float32; blocks of any number, words of any length, layers without a mask.
- Planes of all offsets lie one after another without a gap, in the order they are computed in.
- Whole convolutional programs are compared in `test_tile`.
"""

from __future__ import annotations

import numpy as np
import pytest

from dualview.path_kernel.fast.offset_kernel import _before, _tight_start, dense_column
from dualview.path_kernel.fast.simd_block import LANES, ROWS

SEED = 3


def _dense_case(blocks, features, words):
    generator = np.random.default_rng(SEED)
    first = generator.standard_normal((blocks * ROWS, features)).astype(np.float32)
    second = generator.standard_normal((LANES, features)).astype(np.float32)
    total = int(words.sum())
    bits = [
        generator.integers(-(2**31), 2**31, size=(n, total), dtype=np.int64).astype(np.int32)
        for n in (len(first), LANES)
    ]
    return first, second, *bits


def _side_by_side(values, width):
    """(examples, k) -> blocks of (k, width), flat."""
    count = len(values) // width
    return np.ascontiguousarray(values.reshape(count, width, -1).transpose(0, 2, 1)).reshape(-1)


def _popcount(words):
    return sum(int(word).bit_count() for word in words.astype(np.uint32))


@pytest.mark.parametrize("features", [1, 128, 200])
@pytest.mark.parametrize("words", [(1,), (2, 0, 3)], ids=str)
def test_dense_column(features, words):
    counts, blocks, columns, column = np.array(words, np.int64), 3, 2, 1
    scales = np.linspace(0.5, 0.25, len(words)).astype(np.float32)
    first, second, ga, gb = _dense_case(blocks, features, counts)
    out = np.zeros((blocks * ROWS, columns * LANES), np.float32)
    dense_column(
        _side_by_side(first, ROWS),
        _side_by_side(second, LANES),
        _side_by_side(ga, ROWS),
        _side_by_side(gb, LANES),
        blocks,
        counts,
        scales,
        out,
        column,
    )
    ends = np.concatenate([[0], counts.cumsum()])
    expected = first.astype(np.float64) @ second.astype(np.float64).T
    for i in range(len(first)):
        for j in range(LANES):
            for layer, scale in enumerate(scales):
                both = ga[i, ends[layer] : ends[layer + 1]] & gb[j, ends[layer] : ends[layer + 1]]
                expected[i, j] *= float(scale) * (_popcount(both) if counts[layer] else 1)
    size = np.abs(expected).max()
    np.testing.assert_allclose(out[:, LANES:], expected, rtol=2e-5, atol=1e-5 * size)
    assert not out[:, :LANES].any()


@pytest.mark.parametrize("size", [1, 2, 5])
def test_before(size):
    for r in range(1 - size, size + 1):
        assert _before(size, r) == sum(size - abs(s) for s in range(1 - size, r))


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 2), (2, 4)])
def test_planes_lie_one_after_another(height, width, circular):
    at = 0
    for ry in range(0 if circular else 1 - height, height):
        for rx in range(0 if circular else 1 - width, width):
            assert _tight_start(height, width, ry, rx, circular) == at
            rows = height if circular else height - abs(ry)
            at += rows * (width if circular else width - abs(rx))
