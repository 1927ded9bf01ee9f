"""`OwnType`: it casts to whatever the network has become, and is in no state dict."""

import copy

import torch
from torch import nn

from dualview.conversion.own_type import OwnType


def test_it_follows():
    net = nn.Sequential(nn.Linear(2, 2), OwnType(torch.float32))
    ones = torch.ones(1, 2, dtype=torch.int64)
    assert net[1](ones).dtype == torch.float32
    for dtype in (torch.float64, torch.bfloat16):
        assert net.to(dtype)[1](ones).dtype == dtype
        assert copy.deepcopy(net)[1](ones).dtype == dtype
    assert net.to("meta")[1](ones).is_meta
    assert list(net.state_dict()) == ["0.weight", "0.bias"]
