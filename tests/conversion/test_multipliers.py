"""Multipliers beside gates.

- LayerNorm under its own scale is LayerNorm, for any normalised axes, with and without gamma and
  beta; with the scale given it is affine, its mean part of the linear map.
- Dot-product attention weights times values are PyTorch's attention, whatever the mask; each row is
  the softmax written out.
- A scale of another shape is refused, and so is what would normalise over the examples.
"""

import math

import pytest
import torch
from torch.nn import functional as F

from dualview.conversion.multipliers import (
    dot_product_weights,
    layer_norm_scale,
    query_of_examples,
    replay_layer_norm,
    softmax_weights,
)
from dualview.errors import ExampleInputError

D = torch.float64


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("affine", [(), ("weight",), ("weight", "bias")])
def test_layer_norm_under_its_own_scale(axes, affine):
    x = torch.randn(3, 4, 2, 5, dtype=D)
    shape = x.shape[-axes:]
    parameters = {name: torch.randn(shape, dtype=D) for name in affine}
    scale = layer_norm_scale(x, shape, 1e-2)
    expected = F.layer_norm(x, shape, eps=1e-2, **parameters)
    torch.testing.assert_close(replay_layer_norm(x, scale, shape, **parameters), expected)


def test_given_its_scale_layer_norm_is_affine():
    x, y, z = torch.randn(3, 2, 3, 5, dtype=D)
    scale, bias = layer_norm_scale(z, (5,), 1e-5), torch.randn(5, dtype=D)
    mixed = replay_layer_norm(0.3 * x + 0.7 * y, scale, (5,), bias=bias)
    parts = [replay_layer_norm(v, scale, (5,), bias=bias) for v in (x, y)]
    torch.testing.assert_close(mixed, 0.3 * parts[0] + 0.7 * parts[1])
    centring = torch.eye(5, dtype=D) - 1 / 5
    torch.testing.assert_close(replay_layer_norm(x, scale, (5,)), (x @ centring) * scale)


def test_one_row_under_the_scales_of_many():
    row, x = torch.randn(1, 2, 3, dtype=D), torch.randn(4, 2, 3, dtype=D)
    scale = layer_norm_scale(x, (3,), 1e-5)
    torch.testing.assert_close(
        replay_layer_norm(row, scale, (3,)), replay_layer_norm(row.expand(4, 2, 3), scale, (3,))
    )


@pytest.mark.parametrize("shape", [(4, 1), (4, 3, 1), (4, 2, 3), (4, 2, 1, 1)])
def test_a_scale_of_another_shape_is_refused(shape):
    with pytest.raises(ExampleInputError, match="expected a scale for each of"):
        replay_layer_norm(torch.ones(4, 2, 3), torch.ones(shape), (3,))


MASKS = {
    "none": {},
    "causal": {"is_causal": True},
    "scaled": {"scale": 0.7},
    "boolean": {"attn_mask": torch.tensor([[True, False, True, True], [False] * 3 + [True]] * 2)},
    "a row masked altogether": {"attn_mask": torch.eye(4).bool().logical_not().triu()},
    "added": {"attn_mask": torch.linspace(-2, 2, 16, dtype=D).view(4, 4)},
}


@pytest.mark.parametrize("mask", MASKS)
def test_weights_times_values_are_attention(mask):
    query, key, value = torch.randn(3, 2, 3, 4, 5, dtype=D)
    weights = dot_product_weights(query, key, **MASKS[mask])
    expected = F.scaled_dot_product_attention(query, key, value, **MASKS[mask])
    torch.testing.assert_close(weights @ value, expected)


def test_weights_are_the_softmax_written_out():
    query, key = torch.randn(1, 1, 2, 3, dtype=D), torch.randn(1, 1, 4, 3, dtype=D)
    weights = dot_product_weights(query, key)[0, 0]
    for row, q in zip(weights, query[0, 0], strict=True):
        raised = [math.exp(float(q @ k) / math.sqrt(3)) for k in key[0, 0]]
        assert row.tolist() == pytest.approx([r / sum(raised) for r in raised])


ROWS, TOKENS = torch.ones(4, 3), torch.ones(4, 2, 3)
OVER_EXAMPLES = {
    "LayerNorm": (lambda v: layer_norm_scale(v, v.shape[-2:], 1e-5)),
    "attention": (lambda v: dot_product_weights(v, v)),
    "softmax": (lambda v: softmax_weights(v, v, -2)),
    "nn.MultiheadAttention": query_of_examples,
}


@pytest.mark.parametrize("name", OVER_EXAMPLES)
def test_what_normalises_over_the_examples_is_refused(name):
    OVER_EXAMPLES[name](TOKENS)
    with pytest.raises(ExampleInputError, match=rf"^{name}: .* got shape \(4, 3\).* Repair: "):
        OVER_EXAMPLES[name](ROWS)
