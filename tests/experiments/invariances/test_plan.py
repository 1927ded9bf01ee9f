"""Properties proved here.

1. The orders are all permutations of four but the built one; a sample is a fixed part of them.
2. A network with an order has gates of the layers it names, and the rest as without; the built
   order's network is that of the plain DLGN.
3. The plan: inputs with every seed, each order once, residual networks with every seed; fewer
   orders on large data.
4. Numbers of a trained residual network equal accuracies counted by hand.
5. Tables by hand: paired differences, differences from the built order, means over seeds; parts
   that were not run have no table.
"""

from __future__ import annotations

import math

import pytest
import torch

from dualview.experiments.experiment import Request
from dualview.experiments.invariances import plan as invariances
from dualview.experiments.invariances.plan import drop_each, gate_orders, plan
from dualview.experiments.invariances.tables import INPUT_KINDS, orders_of, tables
from dualview.experiments.networks import build_network, example_input
from dualview.experiments.recipes import setting
from tests.experiments.reproduced import few_digits, tiny_records
from tests.record_cases import run_record

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
    fewer = plan(Request(width=2, seeds=1), DATA, tmp_path)
    assert sum("gate_order" in job.config for job in fewer) == 3
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


def _chain(kind, seed, accuracy, **config):
    return run_record(kind, seed, architecture="c4gap", test_accuracy=accuracy, config=config)


def test_input_by_hand():
    records = [
        *(_chain("dnn", seed, value) for seed, value in enumerate((0.8, 0.8))),
        *(_chain("dlgn", seed, value) for seed, value in enumerate((0.7, 0.6))),
        *(_chain("dlgn-ones", seed, value) for seed, value in enumerate((0.72, 0.58))),
    ]
    (table,) = tables(records)
    assert table.rows == (
        ("DNN", "80.00 ± 0.00", "–", "–", "100.00 ± 0.00", "–", "2"),
        (
            *("DLGN", "65.00 ± 7.07", "65.00 ± 9.90", "+0.00 ± 2.83"),
            *("81.25 ± 8.84", "81.25 ± 12.37", "2"),
        ),
    )


def test_orders_by_hand():
    records = [
        _chain("dlgn", 0, 0.7),
        _chain("dlgn", 1, 0.1),
        _chain("dlgn", 0, 0.75, gate_order=[3, 2, 1, 0]),
        _chain("dlgn", 0, 0.69, gate_order=[1, 0, 2, 3]),
    ]
    assert list(orders_of(records)) == [(0, 1, 2, 3), (1, 0, 2, 3), (3, 2, 1, 0)]
    table = tables(records)[1]
    assert table.rows == (
        ("0 1 2 3 (as built)", "70.00", "+0.00"),
        ("1 0 2 3", "69.00", "−1.00"),
        ("3 2 1 0", "75.00", "+5.00"),
        ("2 permuted, mean ± sd", "72.00 ± 4.24", "+2.00 ± 4.24"),
        ("lowest to highest", "69.00 to 75.00", "–"),
    )


def test_blocks_by_hand():
    def residual(kind, seed, whole, **places):
        measured = {"whole": whole, "blocks": ["stages.0.0", "stages.0.1"], **places}
        return run_record(kind, seed, architecture="resnet20", measurements=measured)

    records = [
        residual("dnn", 0, 0.9, without_both=[0.4, 0.6]),
        residual("dlgn", 0, 0.8, without_both=[0.2, 0.4], without_weights=[0.7, 0.6]),
        residual("dlgn", 1, 0.6, without_both=[0.2, 0.2], without_weights=[0.5, 0.6]),
    ]
    (table,) = tables(records)
    assert table.columns == ("ResNet-20", "DNN", "DLGN, weights network", "DLGN, both")
    assert table.rows == (
        ("whole", "90.00", "70.00 ± 14.14", "70.00 ± 14.14"),
        ("without 0.0", "40.00", "60.00 ± 14.14", "20.00 ± 0.00"),
        ("without 0.1", "60.00", "60.00 ± 0.00", "30.00 ± 14.14"),
        ("mean of one dropped", "50.00", "60.00 ± 7.07", "25.00 ± 7.07"),
    )


def test_whole_is_the_score():
    for record in tiny_records("invariances"):
        if "whole" in record.measurements:
            assert record.measurements["whole"] == pytest.approx(record.test_accuracy, abs=1e-9)
