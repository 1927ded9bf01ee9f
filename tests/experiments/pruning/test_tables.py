"""Both tables by hand: a row for each network and order, over seeds; the bound of the first."""

from dualview.experiments.pruning.tables import SHOWN, tables
from tests.record_cases import diverged, run_record


def thinned(seed, accuracy):
    found = {order: [accuracy] * len(SHOWN) for order in ("size", "balanced size", "paths")}
    numbers = [float(i) for i in range(len(SHOWN))]
    return run_record(
        "dnn",
        seed,
        measurements=found | {"shares": list(SHOWN), "change": numbers, "bound": numbers},
    )


def test_rows_by_hand():
    accuracies, bounds = tables([thinned(1, 0.5), thinned(0, 0.7), diverged(run_record("dlgn"))])
    assert accuracies.columns == ("Removed by", "0 %", "50 %", "70 %", "80 %", "90 %", "95 %")
    assert [row[0] for row in accuracies.rows] == [
        "FC, DNN: size",
        "FC, DNN: size, balanced network",
        "FC, DNN: paths",
    ]
    assert accuracies.rows[0][1] == "60.00 ± 14.14"
    assert bounds.rows == (
        ("FC, DNN: largest change", "1", "2", "3", "4", "5"),
        ("FC, DNN: bound", "1", "2", "3", "4", "5"),
    )
    assert tables([]) == []
