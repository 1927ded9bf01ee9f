"""Properties proved here.

1. Every row of the regimes has all five, as means over 5 runs with a standard deviation, marked as
   maxima over epochs; its data is named.
2. Known entries stand where they belong, written as the papers write them.
3. What the papers conclude holds of the numbers: learnt gates beat random ones in every row, and
   fixed learnt gates come close to the ReLU network's.
4. Accuracy grows over the stages of gate learning, and the CNTK lies between two of them.
"""

from __future__ import annotations

import pytest

from dualview.experiments.published import (
    CNTK,
    DLGN_RECOVERY,
    GATE_LEARNING,
    REGIME_ACCURACY,
    REGIME_DATA,
    REGIMES,
)

ROWS = list(REGIME_ACCURACY)


@pytest.mark.parametrize("row", ROWS)
def test_rows_are_whole(row):
    cells = REGIME_ACCURACY[row]
    assert tuple(cells) == REGIMES
    assert all(cell.runs == 5 and cell.sd and cell.maximum for cell in cells.values())
    assert REGIME_DATA[row[0]] in ("MNIST", "CIFAR-10")


@pytest.mark.parametrize(
    ("row", "regime", "text"),
    [
        (("fc", "sgd"), "frnpf-ii", "95.85 ± 0.10"),
        (("fc", "adam"), "dlnpf", "98.22 ± 0.05"),
        (("vconv", "adam"), "frnpf-di", "64.68 ± 0.84"),
        (("gconv", "sgd"), "relu", "78.90 ± 0.37"),
        (("gconv", "adam"), "flnpf", "79.68 ± 0.32"),
    ],
)
def test_known_entries(row, regime, text):
    assert str(REGIME_ACCURACY[row][regime]) == text


@pytest.mark.parametrize("row", ROWS)
def test_what_the_papers_conclude(row):
    cells = {name: cell.percent for name, cell in REGIME_ACCURACY[row].items()}
    random = max(cells["frnpf-ii"], cells["frnpf-di"])
    assert min(cells["dlnpf"], cells["flnpf"], cells["relu"]) > random
    assert cells["relu"] - cells["flnpf"] < cells["relu"] - random


def test_gate_learning():
    values = [GATE_LEARNING[stage].percent for stage in sorted(GATE_LEARNING)]
    assert values == sorted(values)
    assert GATE_LEARNING[2].percent < CNTK.percent < GATE_LEARNING[6].percent


def test_the_claim():
    assert DLGN_RECOVERY.at_least == 0.835
    assert "83.5" in DLGN_RECOVERY.text
