"""Packed factors: every bit or number is where the compiled loops look for it, and all else is 0.

Of any number of examples, windows, channels, groups and positions.
"""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualview.path_kernel.fast.factors import Constant
from dualview.path_kernel.fast.packing import BITS, packed
from dualview.path_kernel.fast.simd_block import LANES


class Fixed(Constant):
    """A factor that is the same for all inputs, of several windows."""

    def evaluate(self, inputs):
        return self.value


@given(
    *[st.integers(1, 2)] * 2,
    st.integers(1, 3),
    st.integers(1, 3 * BITS),
    st.integers(1, 3),
    st.integers(1, 2 * LANES),
    st.booleans(),
)
def test_packed(n, windows, groups, each, height, width, hard):
    draws = torch.Generator().manual_seed(each)
    value = torch.rand(n, windows, groups * each, height, width, generator=draws) - 0.5
    value = (value > 0) if hard else value
    found = packed(Fixed(value.transpose(3, 4).transpose(3, 4), hard), [torch.zeros(n, 1)], groups)
    positions = height * width
    blocks = positions // LANES + 1
    words = -(-each // BITS) if hard else each
    assert found.shape == (n, windows, groups, blocks, words, LANES)
    lines = np.moveaxis(found, 4, 3).reshape(n, windows, groups, words, blocks * LANES)
    expected = value.reshape(n, windows, groups, each, positions).numpy()
    assert not lines[..., positions:].any()
    if hard:
        bits = lines[..., None, :] >> np.arange(BITS, dtype=np.uint32)[:, None] & 1
        lines = bits.reshape(n, windows, groups, words * BITS, -1)
        assert not lines[:, :, :, each:].any()
        lines = lines[:, :, :, :each]
    np.testing.assert_array_equal(lines[..., :positions], expected)


def test_what_all_examples_share():
    gates = torch.tensor([True, False])[None, None, :, None, None]
    found = packed(Fixed(gates, True), [torch.zeros(3, 1)], 1)
    assert found.shape[0] == 3
    assert (found[..., 0] == 1).all()
