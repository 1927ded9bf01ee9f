"""The table by hand: the validation images first, differences seed by seed, in one order."""

from dataclasses import replace

from dualview.experiments.gating.changes import CHANGES
from dualview.experiments.gating.tables import tables
from tests.record_cases import diverged, run_record


def learner(kind, seed, validation, train):
    run = run_record(kind, seed)
    last = replace(run.curve[-1], validation_accuracy=validation, train_accuracy=train)
    return replace(run, curve=(*run.curve[:-1], last))


def test_rows_by_hand():
    records = [
        learner("dlgn-beta1", 1, 0.7, 0.9),
        learner("dlgn-beta1", 0, 0.6, 0.9),
        learner("dlgn", 0, 0.5, 0.8),
        learner("dlgn", 1, 0.5, 0.6),
        learner("dnn", 5, 0.9, 1.0),
        diverged(learner("dlgn-fast", 0, 0.5, 0.5)),
    ]
    (table,) = tables(records)
    named = [f"FC, {CHANGES[kind].title}" for kind in ("dnn", "dlgn", "dlgn-beta1", "dlgn-fast")]
    assert [row[0] for row in table.rows] == named
    dnn, plain, soft, fast = (row[1:4] + row[-1:] for row in table.rows)
    assert dnn == ("90.00", "–", "100.00", "1")
    assert plain == ("50.00 ± 0.00", "–", "70.00 ± 14.14", "2")
    assert soft == ("65.00 ± 7.07", "+15.00 ± 7.07", "90.00 ± 0.00", "2")
    assert fast == ("–", "–", "–", "0 (1 diverged)")
