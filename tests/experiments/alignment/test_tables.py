"""Tables give means and deviations, say where a complexity is infinite, and omit diverged runs.

Of many epochs some are shown, the first and the last among them.
"""

from dualview.experiments.alignment import tables
from tests.record_cases import diverged, run_record


def _record(kind, seed, complexity, **changes):
    taken = {
        "points": 4,
        "epoch": [0, 2],
        "complexity": complexity,
        "alignment": [0.25, 0.5],
        "rank": [4, 3],
        "condition": [10.0, 2e6],
    }
    return run_record(kind, seed, experiment="alignment", measurements=taken, **changes)


def test_tables():
    records = [
        _record("dnn", 0, [40.0, 10.0]),
        _record("dnn", 1, [42.0, 12.6]),
        _record("dlgn", 0, [30.0, None]),
        diverged(_record("dnn", 2, [99.0])),
    ]
    course, runs = tables.tables(records)
    assert course.columns == (
        "Epochs",
        "DNN: complexity",
        "Alignment",
        "DLGN: complexity",
        "Alignment",
    )
    assert course.rows == (
        ("0", "41 ± 1", "0.250 ± 0.000", "30", "0.250"),
        ("2", "11 ± 2", "0.500 ± 0.000", "∞", "0.500"),
    )
    assert [row[0] for row in runs.rows] == ["DNN", "DLGN"]
    assert runs.rows[0][3:] == ("0.28 ± 0.04", "2 of 2", "3", "2.0e+06", "2")
    assert runs.rows[1][3:] == ("–", "0 of 1", "3", "2.0e+06", "1")
    assert "2006.10529" in course.notes[1]


def test_tables_of_diverged_runs():
    assert [table.rows for table in tables.tables([diverged(_record("dnn", 0, [9.0]))])] == [
        (),
        (),
    ]


def test_rows_shown():
    assert tables.shown([0, 2, 4]) == [0, 2, 4]
    for count in range(9, 200):
        epochs = tables.shown(range(count))
        assert len(epochs) <= tables.TABLE_ROWS
        assert (epochs[0], epochs[-1]) == (0, count - 1)
        assert sorted(set(epochs)) == epochs
