"""Products of hard gates as recipes, evaluated on one side's gates and packed to bits.

A term's factor in a residual network is a product of gates along its skip, perhaps seen at every
second position and among channels of zeros. The recipe is read off the graph once; every block of
examples then evaluates it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Stride:
    """Keep every `rows`-th row and every `columns`-th column."""

    rows: int
    columns: int

    def apply(self, gate: Tensor) -> Tensor:
        """The edited gates."""
        return gate[:, :, :: self.rows, :: self.columns]


@dataclass(frozen=True)
class ChannelPad:
    """Add closed gates before and after the channels."""

    before: int
    after: int

    def apply(self, gate: Tensor) -> Tensor:
        """The edited gates."""
        return F.pad(gate, (0, 0) * (gate.dim() - 2) + (self.before, self.after))


Edit = Stride | ChannelPad


@dataclass(frozen=True)
class Mask:
    """A product of gates: numbers of gate layers, each with the edits made to it, in order."""

    channels: int
    factors: tuple[tuple[int, tuple[Edit, ...]], ...]

    def gated(self, gate: int) -> Mask:
        """Times one more gate."""
        return Mask(self.channels, (*self.factors, (gate, ())))

    def edited(self, edit: Edit) -> Mask:
        """After an edit of the whole product."""
        grown = edit.before + edit.after if isinstance(edit, ChannelPad) else 0
        factors = tuple((gate, (*edits, edit)) for gate, edits in self.factors)
        return Mask(self.channels + grown, factors)

    def pack(self, gates: Sequence[Tensor]) -> np.ndarray:
        """The product for some examples, from their boolean gates (n, channels, ...), as bits."""
        from dualview.path_kernel.fast.tile import pack_gates

        product: Tensor | None = None
        for number, edits in self.factors:
            gate = gates[number]
            for edit in edits:
                gate = edit.apply(gate)
            product = gate if product is None else product & gate
        assert product is not None
        return pack_gates(product.numpy())
