"""The table by hand: a row for each architecture and width, over seeds."""

from dualview.experiments.width.tables import tables
from tests.record_cases import diverged, run_record


def measured(width, seed, *, formula=True, **changes):
    """Spreads of two examples: a tenth of (seed + 1) on average, the closed form half of it."""
    spreads = [0.05 * (seed + 1), 0.15 * (seed + 1)]
    found = {"spread": spreads, "spread_error": [0.01, 0.03], "formula": None, "needed": None}
    if formula:
        found |= {"formula": [s / 2 for s in spreads], "needed": 100 + 100 * seed}
    options = {"width": width, "measurements": found, "test_accuracy": 0.5 + seed / 10}
    return run_record("dgn", seed, **(options | changes))


def test_rows_by_hand():
    records = [
        measured(16, 0, architecture="c4gap", formula=False),
        measured(32, 0),
        measured(8, 1),
        measured(8, 0),
        diverged(measured(8, 2)),
        measured(64, 0, measurements={"examples": 0}),
    ]
    (table,) = tables(records)
    assert table.rows == (
        ("FC, width 8", "15.00 ± 7.07", "7.50 ± 3.54", "150", "55.00 ± 7.07"),
        ("FC, width 32", "10.00", "5.00", "100", "50.00"),
        ("FC, width 64", "–", "–", "–", "50.00"),
        ("C4GAP, width 16", "10.00", "–", "–", "50.00"),
    )
