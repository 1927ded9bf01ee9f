"""Tables by hand: paired differences, differences from the built order, means over seeds.

Parts that were not run have no table.
"""

from __future__ import annotations

from dualview.experiments.invariances.claims import CLAIMS
from dualview.experiments.invariances.tables import orders_of, tables
from tests.record_cases import run_record


def _chain(kind, seed, accuracy, **config):
    return run_record(kind, seed, architecture="c4gap", test_accuracy=accuracy, config=config)


def test_input_by_hand():
    records = [
        *(_chain("dnn", seed, value) for seed, value in enumerate((0.8, 0.8))),
        *(_chain("dlgn", seed, value) for seed, value in enumerate((0.7, 0.6))),
        *(_chain("dlgn-ones", seed, value) for seed, value in enumerate((0.72, 0.58))),
    ]
    (table,) = tables(records)
    assert table.rows == (
        ("DNN", "80.00 ± 0.00", "–", "–", "100.00 ± 0.00", "–", "2"),
        (
            *("DLGN", "65.00 ± 7.07", "65.00 ± 9.90", "+0.00 ± 2.83"),
            *("81.25 ± 8.84", "81.25 ± 12.37", "2"),
        ),
    )


def test_orders_by_hand():
    records = [
        _chain("dlgn", 0, 0.7),
        _chain("dlgn", 1, 0.1),
        _chain("dlgn", 0, 0.75, gate_order=[3, 2, 1, 0]),
        _chain("dlgn", 0, 0.69, gate_order=[1, 0, 2, 3]),
    ]
    assert list(orders_of(records)) == [(0, 1, 2, 3), (1, 0, 2, 3), (3, 2, 1, 0)]
    table = tables(records)[1]
    assert table.rows == (
        ("0 1 2 3 (as built)", "70.00", "+0.00"),
        ("1 0 2 3", "69.00", "−1.00"),
        ("3 2 1 0", "75.00", "+5.00"),
        ("2 permuted, mean ± sd", "72.00 ± 4.24", "+2.00 ± 4.24"),
        ("lowest to highest", "69.00 to 75.00", "–"),
    )


def test_orders_of_several_seeds_by_hand():
    """Only seeds that each order has count, and differences are taken seed by seed."""
    records = [
        *(_chain("dlgn", seed, value) for seed, value in enumerate((0.7, 0.6, 0.1))),
        *(_chain("dlgn", seed, 0.75, gate_order=[3, 2, 1, 0]) for seed in range(2)),
        *(_chain("dlgn", seed, 0.65, gate_order=[1, 0, 2, 3]) for seed in range(2)),
    ]
    table = tables(records)[1]
    assert table.rows == (
        ("0 1 2 3 (as built)", "65.00 ± 7.07", "+0.00"),
        ("1 0 2 3", "65.00 ± 0.00", "+0.00 ± 7.07"),
        ("3 2 1 0", "75.00 ± 0.00", "+10.00 ± 7.07"),
        ("2 permuted, mean ± sd", "70.00 ± 7.07", "+5.00 ± 7.07"),
        ("lowest to highest", "65.00 to 75.00", "–"),
    )
    assert "seeds 0, 1" in table.notes[0]
    (finding,) = (
        found for claim in CLAIMS if "shuffled" in claim.text and (found := claim.find(records))
    )
    assert finding.measured == "+5.00 ± 7.07 points (2 of 23 other orders of the gates)"
    assert finding.setting.endswith("2 seeds")


def test_blocks_by_hand():
    def residual(kind, seed, whole, **places):
        measured = {"whole": whole, "blocks": ["stages.0.0", "stages.0.1"], **places}
        return run_record(kind, seed, architecture="resnet20", measurements=measured)

    records = [
        residual("dnn", 0, 0.9, without_both=[0.4, 0.6]),
        residual("dlgn", 0, 0.8, without_both=[0.2, 0.4], without_weights=[0.7, 0.6]),
        residual("dlgn", 1, 0.6, without_both=[0.2, 0.2], without_weights=[0.5, 0.6]),
    ]
    (table,) = tables(records)
    assert table.columns == ("ResNet-20", "DNN", "DLGN, weights network", "DLGN, both")
    assert table.rows == (
        ("whole", "90.00", "70.00 ± 14.14", "70.00 ± 14.14"),
        ("without 0.0", "40.00", "60.00 ± 14.14", "20.00 ± 0.00"),
        ("without 0.1", "60.00", "60.00 ± 0.00", "30.00 ± 14.14"),
        ("mean of one dropped", "50.00", "60.00 ± 7.07", "25.00 ± 7.07"),
    )
