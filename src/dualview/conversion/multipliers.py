"""Multipliers that depend on the example beside gates: LayerNorm's scale and attention weights.

Each is computed in the gating network and replayed in the weights network, which is linear in its
values once they are given:

- LayerNorm: `(x - mean) * scale * gamma + beta`. The mean is linear in x and stays in the weights
  network, as do gamma and beta; `scale = 1 / sqrt(variance + eps)` is replayed.
- Softmax attention: `A @ values`. The weights `A = softmax(scores)` are replayed; what they are
  computed from (queries, keys, masks) is no part of the weights network.

Axis 0 is the example. Source: the definitions of LayerNorm (arXiv 1607.06450, section 3) and of
scaled dot-product attention (arXiv 1706.03762, section 3.2.1); their reading as gates is this
project's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dualview.conversion.leaf import leaf
from dualview.errors import ExampleInputError

DOT_PRODUCT_AXES = 3
"""Fewest axes of a query, key or value of attention: example, token, feature."""


@leaf
def layer_norm_scale(value: Tensor, normalised: Sequence[int], eps: float) -> Tensor:
    """1 / sqrt(variance + eps) over the last axes, whose lengths are `normalised`; (n, ..., 1).

    Raises:
        ExampleInputError: the examples are among those axes.

    >>> layer_norm_scale(torch.tensor([[1.0, 5.0]]), (2,), 0.0)
    tensor([[0.5000]])
    """
    _refuse_examples("LayerNorm", value, 1 + len(normalised))
    over = tuple(range(-len(normalised), 0))
    return torch.rsqrt(value.var(over, correction=0, keepdim=True) + eps)


@leaf
def replay_layer_norm(
    value: Tensor,
    scale: Tensor,
    normalised: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """LayerNorm over the last axes with the scale given: affine in `value`.

    Args:
        value: (n, ...), or (1, ...) where no example changes it.
        scale: (n, ..., 1), as `layer_norm_scale` gives it.
        normalised: the lengths of the last axes, over which it goes.
        weight: gamma, of their shape.
        bias: beta, of their shape.

    Raises:
        ExampleInputError: the scale is that of a value of another shape.
    """
    axes = len(normalised)
    kept = value.dim() - axes
    if scale.shape != (scale.shape[0], *value.shape[1:kept], *(1,) * axes):
        raise ExampleInputError(
            f"LayerNorm: expected a scale for each of {tuple(value.shape[1:kept])} positions of an "
            f"example, got shape {tuple(scale.shape)}. Repair: give the network examples of one "
            f"shape"
        )
    centred = value - value.mean(tuple(range(-axes, 0)), keepdim=True)
    out = centred * scale
    if weight is not None:
        out = out * weight
    return out if bias is None else out + bias


@leaf
def dot_product_weights(query: Tensor, key: Tensor, **options: Any) -> Tensor:
    """The attention weights of `F.scaled_dot_product_attention`, (n, heads, queries, keys).

    They are what it makes of the unit matrix as values, so masks and rows that are masked
    altogether mean what they mean there.

    Args:
        query: (n, ..., queries, d).
        key: (n, ..., keys, d).
        options: attn_mask, is_causal, scale.

    Raises:
        ExampleInputError: the query has no axis of examples.

    >>> query, key = torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 4, 3)
    >>> dot_product_weights(query, key)[0, 0, 0]
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    _refuse_examples("attention", query, DOT_PRODUCT_AXES)
    keys = key.shape[-2]
    unit = torch.eye(keys, dtype=key.dtype, device=key.device)
    values = unit.expand(*key.shape[:-1], keys)  # (n, ..., keys, keys)
    return F.scaled_dot_product_attention(query, key, values, **options)


@leaf
def softmax_weights(weights: Tensor, softmax: Tensor, axis: int) -> Tensor:
    """`weights` as they are, once it is known that their softmax is not over the examples.

    Args:
        weights: (n, ...), what became of `softmax`.
        softmax: (n, ...), a softmax over `axis`.
        axis: counted from the last, so negative.

    Raises:
        ExampleInputError: `axis` is that of the examples.

    >>> weights = torch.full((3, 2), 0.5)
    >>> softmax_weights(weights, weights, -1) is weights
    True
    """
    _refuse_examples("softmax", softmax, 1 - axis)
    return weights


@leaf
def query_of_examples(query: Tensor) -> Tensor:
    """The query of `nn.MultiheadAttention` as it is, once it is known to have an axis of examples.

    Args:
        query: (n, tokens, features), or tokens first.

    Raises:
        ExampleInputError: there is no such axis, so that the tokens would be taken for examples.

    >>> query_of_examples(torch.zeros(2, 3, 4)).shape
    torch.Size([2, 3, 4])
    """
    _refuse_examples("nn.MultiheadAttention", query, DOT_PRODUCT_AXES)
    return query


def _refuse_examples(what: str, value: Tensor, axes: int) -> None:
    if value.dim() < axes:
        raise ExampleInputError(
            f"{what}: expected a value of at least {axes} axes, the examples first, got shape "
            f"{tuple(value.shape)}, so that it would normalise over the examples. Repair: give the "
            f"network examples of the shape that the model was written for, x.unsqueeze(0) for one"
        )
