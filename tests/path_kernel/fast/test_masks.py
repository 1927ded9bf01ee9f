"""Mask recipes.

- A packed mask is the product of its gates, each edited in order, bit by bit.
- Recipes of the same gates and edits are equal, so that each is packed once.
"""

import numpy as np
import torch
import torch.nn.functional as F

from dualview.path_kernel.fast.masks import ChannelPad, Mask, Stride


def bits(packed, channels):
    """uint64 (n, h, w, words) -> booleans (n, channels, h, w)."""
    shifts = np.arange(64, dtype=np.uint64)
    flat = ((packed[..., None] >> shifts) & np.uint64(1)).reshape(*packed.shape[:-1], -1)
    return torch.from_numpy(flat[..., :channels].astype(bool)).movedim(-1, 1)


def test_product_of_edited_gates():
    small, large = torch.rand(3, 5, 6, 7) > 0.5, torch.rand(3, 70, 3, 4) > 0.5
    mask = Mask(5, ((0, ()),)).gated(0).edited(Stride(2, 2)).edited(ChannelPad(30, 35)).gated(1)
    assert mask.channels == 70
    shortcut = F.pad(small[:, :, ::2, ::2], (0, 0, 0, 0, 30, 35))
    expected = shortcut & large
    assert torch.equal(bits(mask.pack([small, large]), 70), expected)
    assert expected.any()


def test_equal_recipes_are_equal():
    def make():
        return Mask(2, ((0, ()),)).edited(ChannelPad(1, 1)).gated(3)

    assert make() == make()
    assert make() != make().gated(4)
