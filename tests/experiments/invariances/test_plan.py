"""Properties proved here.

1. The orders are all permutations of four but the built one; a sample is a fixed part of them.
2. A network with an order has gates of the layers it names, and the rest as without; the built
   order's network is that of the plain DLGN.
3. The plan: inputs with every seed, each order once, residual networks with every seed; fewer
   orders on large data.
4. Numbers of a trained residual network equal accuracies counted by hand.
"""

from __future__ import annotations

import math

import pytest
import torch

from dualview.experiments.experiment import Request
from dualview.experiments.invariances import plan as invariances
from dualview.experiments.invariances.plan import drop_each, gate_orders, plan
from dualview.experiments.invariances.tables import INPUT_KINDS
from dualview.experiments.networks import build_network, example_input
from dualview.experiments.recipes import setting
from tests.experiments.reproduced import few_digits, tiny_records

DATA = few_digits(20)
IGNORE_ONES = pytest.mark.filterwarnings("ignore::dualview.errors.DualviewWarning")


def test_orders():
    orders = gate_orders()
    assert len(set(orders)) == math.factorial(4) - 1
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert (0, 1, 2, 3) not in orders
    assert gate_orders(5) == gate_orders(5)
    assert set(gate_orders(5)) < set(orders)


def test_networks_with_orders():
    one = setting("trial", "c4gap", Request(width=4), DATA)
    x = example_input(one.data)
    plain = build_network(one.comparison, "dlgn", 0, one.data).eval()
    permuted = build_network(one.comparison, "dlgn", 0, one.data, gate_order=(2, 0, 3, 1)).eval()
    for layer, source in enumerate((2, 0, 3, 1)):
        assert torch.equal(permuted.gates(x)[layer], plain.gates(x)[source])
    built = build_network(one.comparison, "dlgn", 0, one.data, gate_order=(0, 1, 2, 3)).eval()
    assert torch.equal(built(x), plain(x))
    assert not torch.equal(permuted(x), plain(x))


@IGNORE_ONES
def test_plan(tmp_path, monkeypatch):
    jobs = plan(Request(width=2, seeds=2), DATA, tmp_path)
    names = [job.name for job in jobs]
    assert names[:10] == [f"c4gap-{kind}-seed{seed}" for seed in (0, 1) for kind in INPUT_KINDS]
    assert sum("order" in name for name in names) == 23
    assert names[-4:] == [
        f"resnet20-{kind}-seed{seed}" for seed in (0, 1) for kind in ("dnn", "dlgn")
    ]
    assert all(job.seed == 0 for job in jobs if "gate_order" in job.config)
    monkeypatch.setattr(invariances, "is_small", lambda data: False)
    fewer = plan(Request(width=2, seeds=2), DATA, tmp_path)
    assert [job.seed for job in fewer if "gate_order" in job.config] == [0, 0, 0, 1, 1, 1]
    assert {job.config["epochs"] for job in fewer} == {5}


def test_what_is_measured():
    one = setting("trial", "resnet20", Request(width=4), DATA)
    net = build_network(one.comparison, "dlgn", 0, one.data).eval()
    taken = drop_each(one.data, net)
    assert set(taken) == {"whole", "blocks", "without_weights", "without_both"}
    images = one.data.test.images
    mean, std = torch.tensor(one.data.mean), torch.tensor(one.data.std)
    x = (images - mean.reshape(1, -1, 1, 1)) / std.reshape(1, -1, 1, 1)
    with torch.no_grad():
        hits = (net.without_input_transform()(x).argmax(1) == one.data.test.labels).sum()
    assert taken["whole"] == hits / len(images)
    assert len(taken["without_weights"]) == len(taken["without_both"]) == len(taken["blocks"]) == 9
    dnn = build_network(one.comparison, "dnn", 0, one.data)
    assert set(drop_each(one.data, dnn)) == {"whole", "blocks", "without_both"}


def test_whole_is_the_score():
    for record in tiny_records("invariances"):
        if "whole" in record.measurements:
            assert record.measurements["whole"] == pytest.approx(record.test_accuracy, abs=1e-9)
