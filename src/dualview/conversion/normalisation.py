"""Normalisations by statistics of the example, as products with a multiplier.

GroupNorm, InstanceNorm, local response normalisation, RMSNorm and `F.normalize` multiply by a
number that depends on the example: `scale(x)`, which the gating network computes and the weights
network replays. What else they do is linear (subtracting a group's mean) or a constant affine map.

Tensors have the example on axis 0, channels on axis 1. Source: the definitions in
arXiv 1803.08494 (group norm), 1607.08022 (instance norm), 1910.07467 (RMS norm), and Krizhevsky et
al. 2012, section 3.3 (local response); their reading as multipliers is this project's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dualview.conversion.leaf import leaf


def _grouped(x: Tensor, groups: int | None) -> Tensor:
    """(n, C, ...) -> (n, groups, entries); each channel by itself for `groups` None."""
    return x.reshape(len(x), x.shape[1] if groups is None else groups, -1)


@leaf
def group_centred(x: Tensor, groups: int | None) -> Tensor:
    """`x` (n, C, ...) less the mean of each group of channels; linear in `x`.

    >>> group_centred(torch.tensor([[[1.0, 3.0], [5.0, 5.0]]]), 2)
    tensor([[[-1.,  1.],
             [ 0.,  0.]]])
    """
    grouped = _grouped(x, groups)
    return (grouped - grouped.mean(-1, keepdim=True)).reshape(x.shape)


@leaf
def group_scale(x: Tensor, groups: int | None, eps: float) -> Tensor:
    """1 / sqrt(variance + eps) of each group of channels, (n, C, 1, ...).

    >>> group_scale(torch.tensor([[[1.0, 3.0], [0.0, 4.0]]]), 2, 0.0)
    tensor([[[1.0000],
             [0.5000]]])
    """
    scale = torch.rsqrt(_grouped(x, groups).var(-1, correction=0) + eps)  # (n, groups)
    channels = scale.repeat_interleave(x.shape[1] // scale.shape[1], 1)
    return channels.reshape(len(x), -1, *(1,) * (x.dim() - 2))


@leaf
def channel_affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """`x` (n, C, ...) times and plus one number a channel.

    >>> channel_affine(torch.ones(1, 2, 1), torch.tensor([2.0, 3.0]), None).flatten()
    tensor([2., 3.])
    """
    shape = (-1, *(1,) * (x.dim() - 2))
    if weight is not None:
        x = x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


@leaf
def rms_scale(x: Tensor, normalised: Sequence[int], eps: float | None) -> Tensor:
    """1 / sqrt(mean of squares + eps) over the last axes, of lengths `normalised`; (n, ..., 1).

    >>> rms_scale(torch.tensor([[3.0, 4.0]]), (2,), 0.0) ** -2
    tensor([[12.5000]])
    """
    axes = tuple(range(-len(normalised), 0))
    floor = torch.finfo(x.dtype).eps if eps is None else eps
    return torch.rsqrt(x.pow(2).mean(axes, keepdim=True) + floor)


@leaf
def response_scale(
    x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """What local response normalisation multiplies `x` (n, C, ...) by, of its shape.

    >>> response_scale(torch.ones(1, 1, 1), 1, alpha=3.0, beta=0.5)
    tensor([[[0.5000]]])
    """
    squares = x.pow(2).reshape(len(x), 1, x.shape[1], -1)
    squares = F.pad(squares, (0, 0, size // 2, (size - 1) // 2))
    mean = F.avg_pool2d(squares, (size, 1), stride=1).reshape(x.shape)
    return (mean * alpha + k).pow(-beta)


@leaf
def unit_scale(x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """1 / max(p-norm, eps) along the axis `dim`, which stays with length 1.

    >>> unit_scale(torch.tensor([[3.0, 4.0]]))
    tensor([[0.2000]])
    """
    return 1 / x.norm(p, dim, keepdim=True).clamp_min(eps)


SCALES = frozenset({group_scale, rms_scale, response_scale, unit_scale})
"""Functions whose result is a multiplier."""
