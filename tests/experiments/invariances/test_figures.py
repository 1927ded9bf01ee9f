"""Properties proved here.

1. Only parts that were run have figures.
2. Orders stand from the least accurate to the most, each marker at its accuracy; the built order is
   filled; lines stand at its accuracy and the DNN's.
3. Lines over dropped blocks are the means over seeds, the whole network first.
"""

from __future__ import annotations

import pytest

from dualview.experiments.invariances.figures import dropped_blocks, figures, gate_orders
from dualview.experiments.invariances.tables import orders_of
from dualview.pages.style import LIGHT
from tests.record_cases import run_record


def _ordered(accuracy, seed=0, **config):
    return run_record("dlgn", seed, architecture="c4gap", test_accuracy=accuracy, config=config)


ORDERS = orders_of(
    [
        _ordered(0.7),
        _ordered(0.75, gate_order=[3, 2, 1, 0]),
        _ordered(0.69, gate_order=[1, 0, 2, 3]),
    ]
)


def _residual(kind, seed, whole, **places):
    measured = {"whole": whole, "blocks": ["stages.0.0", "stages.0.1"], **places}
    return run_record(kind, seed, architecture="resnet20", measurements=measured)


RESIDUAL = [
    _residual("dnn", 0, 0.9, without_both=[0.4, 0.6]),
    _residual("dlgn", 0, 0.8, without_both=[0.2, 0.4], without_weights=[0.7, 0.6]),
    _residual("dlgn", 1, 0.6, without_both=[0.2, 0.2], without_weights=[0.5, 0.6]),
]


def test_parts():
    assert list(figures([run for runs in ORDERS.values() for run in runs])) == ["gate-orders"]
    assert list(figures(RESIDUAL)) == ["dropped-blocks"]
    assert figures([]) == {}


def test_orders():
    (axes,) = gate_orders(ORDERS, 0.8).axes
    markers = [line for line in axes.lines if line.get_marker() == "o"]
    places = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in markers]
    assert [accuracy for accuracy, _ in places] == pytest.approx([69, 70, 75])
    assert [place for _, place in places] == [0, 1, 2]
    filled = [line.get_markerfacecolor() != LIGHT["page"] for line in markers]
    assert filled == [False, True, False]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["1 0 2 3", "0 1 2 3", "3 2 1 0"]
    lines = {float(line.get_xdata()[0]) for line in axes.lines if line not in markers}
    assert sorted(lines) == pytest.approx([70, 80])


def test_dropped_blocks():
    (axes,) = dropped_blocks(RESIDUAL).axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert drawn == {
        "DNN": pytest.approx([90, 40, 60]),
        "DLGN, weights network": pytest.approx([70, 60, 60]),
        "DLGN, both networks": pytest.approx([70, 20, 30]),
    }
    assert [text.get_text() for text in axes.get_xticklabels()] == ["none", "0.0", "0.1"]
