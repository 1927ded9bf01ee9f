"""What is proved of `tabular/fitting.py`.

- A step on all rows is Adam's own on the weighted mean loss; batches hold each row once an epoch.
- The learning rate falls along a half cosine; annealed gates grow steeper to `HARD_FROM`.
- It stops after `patience` epochs without anything better; what is held back chooses the epoch.
- Training goes on from earlier moments as if it had not stopped.
- A loss that is not finite is refused.
"""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from dualview.errors import DivergenceError
from dualview.progress import Unseen
from dualview.tabular.fitting import Descent, Rows, _batches, _optimiser, _prepare, descend
from dualview.tabular.network import HARD_FROM, Shape, StraightThroughGate, fresh_network

PLAN = Descent(5, 1000, 0.01, 0.0, 100, 0.0, constant=True)


def learning():
    net = fresh_network(Shape(3, 2, "dlgn", "data", 4, 3), 0).train()
    net.gate_functions = torch.nn.ModuleList(StraightThroughGate(4.0) for _ in range(2))
    return net


def rows(n=30, seed=0):
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, dtype=torch.float64, generator=random)
    weights = torch.rand(n, dtype=torch.float64, generator=random) + 0.5
    return Rows(x, (x[:, 0] > x[:, 1]).long(), weights)


def run(net, plan, held=None, **options):
    generator = torch.Generator().manual_seed(0)
    return descend(net, rows(), held, plan, generator, Unseen(), title="test", **options)


def test_steps_are_those_of_adam():
    net, data = learning(), rows()
    by_hand = copy.deepcopy(net)
    found = run(net, PLAN)
    adam, losses = torch.optim.Adam(by_hand.parameters(), lr=0.01), []
    for _ in range(5):
        adam.zero_grad()
        each = F.cross_entropy(by_hand(data.x), data.y, reduction="none") * data.weights
        loss = each.sum() / data.weights.sum()
        loss.backward()
        losses.append(loss.item())
        adam.step()
    assert found.losses == pytest.approx(losses)
    for one, other in zip(net.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("size", "each", "count"), [(30, 30, 1), (29, 15, 2), (7, 6, 5), (1, 1, 30)]
)
def test_batches_hold_each_row_once(size, each, count):
    data = rows()
    batches = list(_batches(data, size, torch.Generator().manual_seed(0)))
    assert [len(batch) for batch in batches] == [each] * count
    seen = torch.cat([batch.x for batch in batches])
    assert {tuple(row) for row in seen.tolist()} == {tuple(row) for row in data.x.tolist()}


def test_rates_and_slopes():
    net, plan = learning(), Descent(5, 10, 0.1, 0.0, 9, 0.0, annealed_from=4.0)
    optimiser, rates, slopes = _optimiser(net, plan), [], []
    for epoch in range(5):
        _prepare(net, optimiser, plan, epoch)
        rates.append(optimiser.param_groups[1]["lr"])
        slopes.append(net.gate_functions[0].beta)
    assert rates == [0.05 * (1 + math.cos(math.pi * epoch / 5)) for epoch in range(5)]
    assert slopes == pytest.approx([4 * 100 ** (epoch / 4) for epoch in range(5)])
    assert slopes[-1] == pytest.approx(HARD_FROM)


def test_patience():
    still = Descent(50, 1000, 1e-12, 0.0, 3, 1e-4)
    assert len(run(learning(), still).losses) == 4
    assert len(run(learning(), Descent(6, 1000, 0.01, 0.0, 3, 0.0)).losses) == 6


def test_the_best_epoch_stays():
    net, held = learning(), rows(20, seed=1)
    found = run(net, Descent(12, 8, 0.3, 0.0, 100, 0.0), held)
    with torch.no_grad():
        right = (net(held.x).argmax(1) == held.y) * held.weights
    assert max(found.scores) == pytest.approx(float(right.sum() / held.weights.sum()))


def test_going_on_from_moments():
    whole, halves = learning(), learning()
    run(whole, PLAN)
    first = run(halves, Descent(2, 1000, 0.01, 0.0, 100, 0.0, constant=True))
    run(halves, Descent(3, 1000, 0.01, 0.0, 100, 0.0, constant=True), moments=first.moments)
    for one, other in zip(whole.parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_divergence():
    with pytest.raises(DivergenceError, match=r"finite loss, got (nan|inf).*learning_rate"):
        run(learning(), Descent(50, 1000, 1e200, 0.0, 100, 0.0))
