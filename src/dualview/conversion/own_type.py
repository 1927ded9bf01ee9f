"""`OwnType`: a cast that follows the network's floating-point type, wherever it is taken."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class OwnType(nn.Module):
    """Casts to the type, and moves to the device, that the network has when it is called.

    A forward that says `torch.zeros(n, 8)` or `h.float()` names a type, which stays behind when a
    copy of the network computes in float64. The tensor that tells the type is in no state dict.

    Args:
        dtype: the network's when this is made.

    >>> OwnType(torch.float32).double()(torch.zeros(1)).dtype
    torch.float64
    """

    like: Tensor

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("like", torch.zeros((), dtype=dtype), persistent=False)

    def forward(self, value: Tensor) -> Tensor:
        """The same numbers, of any shape, in the type of the network."""
        return value.to(self.like)
