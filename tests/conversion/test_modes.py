"""Evaluation mode holds inside the block; each module's own mode comes back, also on errors."""

import pytest
from torch import nn

from dualview.conversion.modes import evaluation_mode


def test_modes_come_back():
    net = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2)))
    net[1].eval()
    before = [module.training for module in net.modules()]
    with evaluation_mode(net):
        assert not any(module.training for module in net.modules())
    assert [module.training for module in net.modules()] == before == [True, True, False, False]
    with pytest.raises(KeyError), evaluation_mode(net):
        raise KeyError
    assert [module.training for module in net.modules()] == before
