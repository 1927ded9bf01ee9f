"""The table by hand: networks in order, a row a method, cells with their errors."""

from dualview.experiments.explanations.tables import tables
from tests.record_cases import diverged, run_record

FOUND = {
    "examples": 7,
    "methods": ["paths", "random"],
    "deletion": [0.25, 0.5],
    "deletion_error": [0.01, 0.02],
    "insertion": [0.75, 0.5],
    "insertion_error": [0.0, 0.0],
    "sensitivity": [0.9, -0.1],
    "sensitivity_error": [0.1, 0.1],
    "stability": [1.0, 0.0],
    "stability_error": [0.0, 0.125],
    "fractions": [0.0, 0.5, 1.0],
    "deletion_curve": [[1.0, 0.2, 0.1], [1.0, 0.6, 0.1]],
    "deletion_curve_error": [[0.0, 0.1, 0.1]] * 2,
    "insertion_curve": [[0.1, 0.8, 1.0], [0.1, 0.5, 1.0]],
    "insertion_curve_error": [[0.0, 0.1, 0.1]] * 2,
}


def test_rows_by_hand():
    records = [
        run_record("dlgn", 1, measurements=FOUND),
        run_record("dlgn", measurements=FOUND),
        run_record("dnn", measurements=FOUND),
        diverged(run_record("dnn", architecture="c4gap")),
    ]
    (table,) = tables(records)
    assert [row[0] for row in table.rows] == [
        "FC, DNN: path contributions",
        "FC, DNN: random",
        "FC, DLGN: path contributions",
        "FC, DLGN: random",
        "FC, DLGN, seed 1: path contributions",
        "FC, DLGN, seed 1: random",
    ]
    cells = ("0.500 ± 0.020", "0.500 ± 0.000", "−0.100 ± 0.100", "0.000 ± 0.125", "7")
    assert table.rows[1][1:] == cells
    assert tables([records[-1]]) == []
