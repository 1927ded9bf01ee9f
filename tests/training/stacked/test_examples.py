"""Properties:
- images are those of `datasets.Batches`, flat; a batch has every network's own rows, labels, gates;
- parts are all examples in order, the same for each network, with its own gates;
- the order of an epoch is that of `datasets.Batches`.
"""

from __future__ import annotations

import pytest
import torch

from dualview.datasets import Batches, Split
from dualview.training.feeding import feed
from dualview.training.stacked.examples import Examples, epoch_order
from tests.training.stacked.test_run import DATA, KINDS

NETS = [KINDS["frozen"](seed).double() for seed in range(2)]
FED = feed(torch.nn.Linear(16, 3), DATA)
CPU = torch.device("cpu")


def examples() -> Examples:
    return Examples.of(DATA.train, FED, CPU, torch.float64).gated(NETS, DATA.input_shape)


def images() -> torch.Tensor:
    batches = Batches(DATA.train, 7, mean=DATA.mean, std=DATA.std)
    return torch.cat([batch for batch, _ in batches]).double()


def gates(i: int) -> torch.Tensor:
    return torch.cat(NETS[i].gates(images()), dim=1)


def test_batches_have_their_own_rows() -> None:
    rows = torch.tensor([[3, 5, 3], [0, 39, 7]])
    x, labels, given = examples().batch(rows)
    assert given is not None
    for i in range(2):
        assert torch.equal(x[i], images()[rows[i]].flatten(1))
        assert torch.equal(labels[i], DATA.train.labels[rows[i]])
        assert torch.equal(given[i].double(), gates(i)[rows[i]])


def test_batches_without_gates() -> None:
    plain = Examples.of(DATA.train, FED, CPU, torch.float32)
    assert plain.batch(torch.tensor([[1]]))[2] is None
    assert next(plain.parts(2))[2] is None


def test_parts_are_all_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualview.training.stacked.examples.EVALUATION_BATCH", 16)
    parts = list(examples().parts(2))
    assert [x.shape for x, _, _ in parts] == [(2, n, 16) for n in (16, 16, 8)]
    for i in range(2):
        assert torch.equal(torch.cat([x[i] for x, _, _ in parts]), images().flatten(1))
        assert torch.equal(torch.cat([y[i] for _, y, _ in parts]), DATA.train.labels)
        given = [g[i] for _, _, g in parts if g is not None]
        assert torch.equal(torch.cat(given).double(), gates(i))


@pytest.mark.parametrize("epoch", [0, 3])
def test_order_is_that_of_batches(epoch: int) -> None:
    n = 50
    split = Split(torch.arange(n).float().reshape(n, 1, 1, 1), torch.arange(n))
    batches = Batches(split, 8, shuffle=True, seed=7, normalise=False)
    batches.set_epoch(epoch)
    assert torch.equal(torch.cat([labels for _, labels in batches]), epoch_order(7, epoch, n))
