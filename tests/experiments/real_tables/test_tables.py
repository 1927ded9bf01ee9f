"""Both tables by hand: ranks with ties, accuracies, how many trees are near."""

import pytest

from dualview.experiments.real_tables.tables import mean_ranks, tables
from tests.record_cases import run_record

NAMES = ["DLGN", "its tree", "MLP", "linear"]


def tried(data, *scores):
    found = {"estimators": NAMES, "folds": [[one - 0.01, one + 0.01] for one in scores]}
    found |= {"held_out": list(scores), "seconds": [1.0, 0.5, 2.0, 0.25]}
    found |= {"fidelity": 0.9, "leaves": 4, "columns": 7, "classes": 2}
    return run_record("dlgn", 0, data=data, measurements=found)


def test_rows_by_hand():
    runs = [tried("b", 0.9, 0.89, 0.9, 0.8), tried("a", 0.7, 0.6, 0.8, 0.9)]
    assert mean_ranks(runs) == pytest.approx({"DLGN": 2.25, "MLP": 1.75, "linear": 2.0})
    ranks, each = tables(runs)
    assert ranks.rows[0] == ("DLGN", "2.25", "80.00", "1.00")
    assert ranks.rows[1] == ("its tree", "–", "74.50", "0.50")
    assert "on 1 of 2 tables, and says what it says on 90 %" in ranks.notes[1]
    assert [row[0] for row in each.rows] == [f"{name}: 1657 rows, 7 columns" for name in "ab"]
    assert each.rows[0][1:] == ("70.00", "60.00", "80.00", "90.00")
    assert tables([]) == []
