"""A trial run: on a batch of two, in evaluation mode; what a layer refuses is told from a fault."""

import pytest
import torch
from torch import nn

from dualview.conversion.trial_run import REFUSALS, outputs_of_two
from dualview.errors import ExampleInputError, GateOrderError


class Raises(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error


def test_two_copies_in_evaluation_mode():
    net = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.9))
    x = torch.randn(5, 3)
    out = outputs_of_two(net, x)
    torch.testing.assert_close(out, net[0](x[[0, 0]]))
    assert net.training
    assert not out.requires_grad


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_a_layer_refuses(kind):
    with pytest.raises(ExampleInputError, match="of that shape"):
        outputs_of_two(Raises(kind("of that shape")), torch.ones(1, 2))


@pytest.mark.parametrize(
    "error", [AttributeError("a typing error"), KeyError("k"), torch.OutOfMemoryError("full")]
)
def test_faults_are_not_blamed_on_the_examples(error):
    with pytest.raises(type(error)):
        outputs_of_two(Raises(error), torch.ones(1, 2))


def test_errors_of_this_package_stay_as_they_are():
    with pytest.raises(GateOrderError):
        outputs_of_two(Raises(GateOrderError("another order")), torch.ones(1, 2))
