"""The table by hand: a row for each kind, FC first, recovered accuracy by seed."""

from __future__ import annotations

from dualview.experiments.shallow.tables import tables
from tests.record_cases import run_record


def test_rows_by_hand():
    records = [
        run_record(kind, 0, architecture=arch, test_accuracy=accuracy)
        for arch in ("c4gap", "fc")
        for kind, accuracy in (("dlgn-sf", 0.6), ("dnn", 0.8), ("dlgn", 0.7))
    ]
    (table,) = tables(records)
    assert [row[:3] for row in table.rows] == [
        (f"{arch}, {kind}", *cells)
        for arch in ("FC", "C4GAP")
        for kind, cells in (
            ("DNN", ("80.00", "100.00")),
            ("DLGN", ("70.00", "87.50")),
            ("DLGN-SF", ("60.00", "75.00")),
        )
    ]
