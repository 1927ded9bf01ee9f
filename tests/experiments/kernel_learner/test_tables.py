"""The table by hand: a row for each architecture and kind of gates, over seeds."""

import pytest

from dualview.experiments.kernel_learner.tables import DRAWN, LEARNT, tables
from tests.record_cases import diverged, run_record


def machine(kind, seed, kernel):
    found = {"soft": 0.9, "hard": 0.8, "kernel": kernel, "ridge": 1e-3}
    return run_record(kind, seed, measurements=found)


def test_rows_by_hand():
    records = [
        machine(DRAWN, 0, 0.5),
        machine(LEARNT, 1, 0.5),
        machine(LEARNT, 0, 0.7),
        diverged(run_record(DRAWN, 1)),
    ]
    (table,) = tables(records)
    assert [row[0] for row in table.rows] == ["FC, DLGN, learnt gates", "FC, DLGN, drawn gates"]
    assert table.rows[0][4:] == ("90.00 ± 0.00", "80.00 ± 0.00", "60.00 ± 14.14", "2")
    assert table.rows[1][4:] == ("90.00", "80.00", "50.00", "1")


@pytest.mark.parametrize("records", [[], [run_record(LEARNT)]])
def test_nothing_to_tell(records):
    assert tables(records) == []
