"""Targets of growing frequency: products of sines on [0, 1]^d, and the points they are learnt on.

Points are (n, d), values (f, n) for f frequencies. Networks read 2 x - 1, so that inputs are
centred, as normalised images are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def target(x: Tensor, frequencies: Sequence[int]) -> Tensor:
    """sin(2 pi k x), or sin(2 pi k x_1) sin(2 pi k x_2), for every frequency k: (f, n).

    >>> target(torch.tensor([[0.25], [0.5]]), [1, 2]).round(decimals=3).abs().tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    scaled = torch.stack([2 * math.pi * k * x for k in frequencies])  # (f, n, d)
    return scaled.sin().prod(-1)


def grid(dimension: int, side: int, shift: float) -> Tensor:
    """`side` equally spaced points on each axis, the first at shift / side: (side^d, d).

    >>> grid(2, 2, 0.5).tolist()
    [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]
    """
    axis = (torch.arange(side, dtype=torch.float64) + shift) / side
    return torch.stack(torch.meshgrid(*[axis] * dimension, indexing="ij"), -1).flatten(0, -2)


def train_points(dimension: int, side: int) -> Tensor:
    """The points learnt from: a grid."""
    return grid(dimension, side, 0.25)


def unseen_points(dimension: int, side: int) -> Tensor:
    """The points tested on: halfway between those learnt from."""
    return grid(dimension, side, 0.75)


def network_input(x: Tensor) -> Tensor:
    """Points as the networks read them."""
    return 2 * x - 1
