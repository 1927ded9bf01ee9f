"""Properties proved here.

1. Recovered accuracies are divided seed by seed, by the DNN's and by the wide DNN's.
2. The tables have a row for each kind of each architecture, in order; the claim stands beside the
   DLGN's; parameters and times are the records', and ratios the DNN's.
3. Missing kinds and diverged runs leave “–”, not an error; enlarged images and unequal numbers of
   epochs are told of.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from dualview.experiments.architectures.tables import of_wide, tables
from dualview.experiments.settings import ENLARGED
from tests.record_cases import diverged, run_record


def _records():
    accuracies = {
        "dnn": (0.8, 0.5),
        "dnn-wide": (0.9, 0.75),
        "dgn": (0.88, 0.6),
        "dlgn": (0.6, 0.3),
    }
    return [
        run_record(
            kind,
            seed,
            experiment="architectures",
            architecture="c4gap",
            width=16,
            test_accuracy=accuracy,
            parameters=100 if kind == "dnn" else 200,
            config={"own_width": 23} if kind == "dnn-wide" else {},
        )
        for kind, pair in accuracies.items()
        for seed, accuracy in enumerate(pair)
    ]


def test_rows_by_hand():
    accuracy, cost = tables(_records())
    rows = {row[0]: row[1:] for row in accuracy.rows}
    assert list(rows) == ["C4GAP, DNN", "C4GAP, DNN, wide", "C4GAP, DGN", "C4GAP, DLGN"]
    assert rows["C4GAP, DLGN"][:4] == ("45.00 ± 21.21", "67.50 ± 10.61", "> 83.5", "53.33 ± 18.86")
    assert rows["C4GAP, DGN"][1:4] == ("115.00 ± 7.07", "–", "88.89 ± 12.57")
    sizes = {row[0]: row[1:4] for row in cost.rows}
    assert sizes["C4GAP, DNN, wide"] == ("23", "200", "2.00")
    assert sizes["C4GAP, DLGN"] == ("16", "200", "2.00")
    assert {row[4:] for row in cost.rows} == {("0.5", "1.00")}
    assert of_wide(_records(), "dlgn") == pytest.approx([0.6 / 0.9, 0.3 / 0.75])


def test_unequal_epochs_are_told_of():
    alike = _records()
    assert not any("epochs:" in note for note in tables(alike)[0].notes)
    longer = [replace(r, epochs=12) if r.kind == "dnn" else r for r in alike]
    (note,) = [note for note in tables(longer)[0].notes if "epochs:" in note]
    own = alike[-1].epochs
    assert note == (
        f"C4GAP: not trained for the same epochs: DNN 12, DNN, wide {own}, DGN {own}, DLGN {own}."
    )


def test_missing_and_diverged_runs():
    alone = [record for record in _records() if record.kind == "dlgn"]
    alone[0] = diverged(alone[0], epochs=0)
    accuracy, cost = tables(alone)
    assert accuracy.rows == (
        ("C4GAP, DLGN", "30.00", "–", "> 83.5", "–", accuracy.rows[0][5], "1 (1 diverged)"),
    )
    assert cost.rows[0][3] == cost.rows[0][5] == "–"


def test_enlarged_images_are_told_of():
    enlarged = [
        replace(record, architecture="vgg16", config={**record.config, ENLARGED: 2})
        for record in _records()
    ]
    accuracy, _ = tables([*_records(), *enlarged])
    assert [note for note in accuracy.notes if "halves" in note] == [
        "VGG-16 halves its images more often than these allow, so each pixel is repeated 2 × 2 "
        "times."
    ]
    assert len(accuracy.rows) == 8
