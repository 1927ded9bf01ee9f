"""The table by hand: teacher first, routes in order, changes and shares seed by seed."""

from __future__ import annotations

from dualview.experiments.distillation.tables import ROUTES, tables
from tests.record_cases import diverged, run_record


def learner(kind, seed, soft, hard, **changes):
    found = {"before": 0.5, "soft": soft, "hard": hard}
    return run_record(kind, seed, test_accuracy=soft, measurements=found, **changes)


def test_rows_by_hand():
    records = [
        learner("dlgn-distilled", 0, 0.8, 0.7),
        learner("dlgn-distilled", 1, 0.8, 0.8),
        run_record("dnn", 0, test_accuracy=0.8),
        run_record("dnn", 1, test_accuracy=1.0),
        diverged(learner("dlgn-copied", 0, 0.8, 0.7)),
    ]
    (table,) = tables(records)
    assert [row[0] for row in table.rows] == [
        "FC, DNN, the teacher",
        f"FC, {ROUTES['dlgn-copied']}",
        f"FC, {ROUTES['dlgn-distilled']}",
    ]
    teacher, copied, distilled = (row[1:] for row in table.rows)
    assert teacher == ("6", "–", "90.00 ± 14.14", "–", "–", "100.00 ± 0.00", "2")
    assert copied == ("6", "–", "–", "–", "–", "–", "0 (1 diverged)")
    assert distilled == (
        "6",
        "50.00 ± 0.00",
        "80.00 ± 0.00",
        "75.00 ± 7.07",
        "−5.00 ± 7.07",
        "83.75 ± 5.30",
        "2",
    )
