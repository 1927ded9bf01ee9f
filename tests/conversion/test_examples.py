"""Checks of networks and examples: what they take, and the repair that they name for the rest."""

import pytest
import torch
from torch import nn

import dualview as dv
from dualview.arguments import UnfitError
from dualview.conversion.examples import batch, check_takes, example, gated
from dualview.errors import DataError

NET = dv.disentangle(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), "dgn", seed=0)


def test_networks():
    assert gated(NET) is NET
    for wrong in (nn.Linear(1, 1), 3):
        with pytest.raises(UnfitError, match="GatedNetwork"):
            gated(wrong)


@pytest.mark.parametrize("check", [batch, example])
@pytest.mark.parametrize(
    "wrong",
    [
        [[1.0]],
        torch.ones(2, 3, dtype=torch.long),
        torch.ones(2, 0),
        torch.ones(2, 3).to_sparse(),
        torch.ones(2, 3, device="meta"),
        torch.tensor([[1.0, torch.inf]]),
        torch.tensor([[1.0, 2.0], [torch.nan, 0]]),
    ],
    ids=str,
)
def test_examples_that_are_none(check, wrong):
    with pytest.raises(UnfitError):
        check(wrong)


def test_examples_that_are_taken():
    assert batch(torch.ones(2, 3)).shape == (2, 3)
    assert example(torch.ones(3)).shape == (3,)
    assert example(torch.ones(1, 3)).shape == (1, 3)
    with pytest.raises(UnfitError):
        batch(torch.ones(3))


def test_examples_of_another_shape():
    check_takes(NET, "x", torch.ones(1, 3), DataError)
    with pytest.raises(DataError, match=r"^x: expected .* shape \(4,\)"):
        check_takes(NET, "x", torch.ones(1, 4), DataError)
