"""Layers that take another's place.

- A batch norm with given tensors does what the function does with them, with a scale or a shift
  alone too, for every number of axes; nothing of it waits for memory.
- A tensor keeps being a parameter or a buffer, whatever the layer calls its own.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dualview.conversion.layer_tensors import BATCH_NORM_OF_RANK, batch_norm, give_tensor


@pytest.mark.parametrize("given", [("weight", "bias"), ("weight",), ("bias",), ()])
@pytest.mark.parametrize("rank", BATCH_NORM_OF_RANK)
def test_a_batch_norm_with_given_tensors(rank, given):
    tensors = {name: nn.Parameter(torch.rand(3) + 0.5) for name in given}
    statistics = {name: torch.rand(3) + 0.5 for name in ("running_mean", "running_var")}
    layer = batch_norm(rank, 0.01, 0.2, {**tensors, **statistics}).eval()
    x = torch.randn(2, 3, *(4,) * (rank - 2))
    torch.testing.assert_close(layer(x), F.batch_norm(x, **statistics, **tensors, eps=0.01))
    assert {name for name, _ in layer.named_parameters()} == set(given)
    assert not any(tensor.is_meta for tensor in layer.state_dict().values())
    assert layer.momentum == 0.2


def test_a_tensor_stays_what_it_is():
    layer = nn.Linear(2, 3, device="meta")
    weight, bias = torch.rand(3, 2), nn.Parameter(torch.rand(3))
    give_tensor(layer, "weight", weight)
    give_tensor(layer, "bias", bias)
    assert layer.weight is weight
    assert layer.bias is bias
    assert [name for name, _ in layer.named_buffers()] == ["weight"]
    norm = nn.BatchNorm1d(3)
    give_tensor(norm, "running_mean", bias)
    assert "running_mean" in dict(norm.named_parameters())
