"""A small vision transformer: patches, attention, GELU, LayerNorm before each branch, residuals.

A plain module that knows nothing of gates. Values are (n, tokens, width); the first token is the
class token, which alone is read in the end. Queries, keys and values have layers of their own, so
that a weights network holds those of the values only.

Source: Dosovitskiy et al. 2020, arXiv 2010.11929, section 3.1 and table 1 (there larger).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dualview.architectures.drawing import reset
from dualview.architectures.record import recorded
from dualview.errors import ArchitectureError

HEADS = 4
"""Heads of each attention; the width is a multiple of it."""


class SelfAttention(nn.Module):
    """Softmax attention of all tokens to all tokens, in `heads` heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.project = nn.Linear(width, width), nn.Linear(width, width)
        self.heads = heads
        self.scale = math.sqrt(heads / width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) -> (n, tokens, width)."""
        query, key, value = (self._by_head(f(x)) for f in (self.query, self.key, self.value))
        scores = query @ key.transpose(-2, -1) * self.scale  # (n, heads, tokens, tokens)
        mixed = scores.softmax(dim=-1) @ value  # (n, heads, tokens, width / heads)
        return self.project(mixed.transpose(1, 2).flatten(2))

    def _by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (n, heads, tokens, width / heads)


class TransformerBlock(nn.Module):
    """Attention and a dense network of one hidden layer, each added to what it reads."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) -> (n, tokens, width)."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Patch embedding, class token and positions, `depth` blocks, LayerNorm, one dense layer."""

    def __init__(
        self,
        num_classes: int,
        input_shape: tuple[int, int, int],
        width: int,
        depth: int,
        patch: int,
    ) -> None:
        super().__init__()
        channels, height, rows = input_shape
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        tokens = 1 + (height // patch) * (rows // patch)
        self.positions = nn.Parameter(torch.empty(1, tokens, width))
        self.blocks = nn.Sequential(
            *[TransformerBlock(width, HEADS, 4 * width) for _ in range(depth)]
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew from PyTorch's current random state."""
        reset(self, he=False)
        nn.init.normal_(self.class_token, std=0.02)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, height, width) -> logits (n, num_classes)."""
        patches = self.embed(x).flatten(2).transpose(1, 2)  # (n, patches, width)
        first = self.class_token.expand(x.shape[0], -1, -1)
        tokens = torch.cat([first, patches], 1) + self.positions
        return self.head(self.norm(self.blocks(tokens)[:, 0]))


@recorded
def vit(
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    width: int | None = None,
    batch_norm: bool = False,
    depth: int = 4,
) -> nn.Module:
    """Vision transformer of `depth` blocks, 64 values a token, 4 heads.

    Patches are 4x4, or 2x2 on images of fewer than 16 pixels in either direction.

    >>> sum(p.numel() for p in vit(10, (1, 8, 8)).parameters())
    202186
    """
    if batch_norm:
        raise ArchitectureError(
            "vit has layer norm in place of batch norm; expected batch_norm=False"
        )
    width = 64 if width is None else width
    patch = 4 if min(input_shape[1:]) >= 16 else 2
    if width % HEADS:
        raise ArchitectureError(f"width: expected a multiple of vit's {HEADS} heads, got {width}")
    if any(side % patch for side in input_shape[1:]):
        raise ArchitectureError(
            f"vit cuts the image into {patch}x{patch} patches: expected sides that are multiples "
            f"of {patch}, got {input_shape[1]}x{input_shape[2]}"
        )
    return VisionTransformer(num_classes, input_shape, width, depth, patch)
