"""The table by hand; networks on halves have no row."""

from dualview.experiments.datamodels.tables import ATTRIBUTIONS, tables
from tests.record_cases import run_record

FOUND = {
    "methods": ["same class", "kernel machine"],
    "score": [-0.25, 0.5],
    "score_error": [0.125, 0.01],
    "targets": 7,
    "subsets": 9,
}


def test_rows_by_hand():
    records = [
        run_record("dlgn", measurements={"margins": [1.0]}),
        run_record("dlgn", measurements=FOUND),
    ]
    (table,) = tables(records)
    assert table.rows == (
        (f"FC: {ATTRIBUTIONS['kernel machine']}", "0.500 ± 0.010"),
        (f"FC: {ATTRIBUTIONS['same class']}", "−0.250 ± 0.125"),
    )
    assert "over 9 networks" in table.notes[0]
    assert "7 test examples" in table.notes[0]
    assert tables(records[:1]) == []
