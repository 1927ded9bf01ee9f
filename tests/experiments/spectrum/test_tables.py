"""Properties proved here.

1. What is reached: mean and deviation of the last R2 by kind and frequency; a diverged frequency is
   counted, not averaged.
2. When: the median of the seeds that reach a threshold, and how many do.
3. Accuracies by band, recovered against the DNN of the same band and seed.
4. Shares of filter power, slopes of gates, and the flat filter's share in the note.
5. Parts that were not run have no tables.
"""

import dataclasses

import pytest

from dualview.experiments.spectrum.tables import tables
from tests.experiments.spectrum.cases import all_records, function_record, image_record


def _named(records):
    return {table.name: table for table in tables(records)}


def test_all_parts():
    assert list(_named(all_records())) == [
        "functions-1d",
        "functions-1d-epochs",
        "functions-1d-gates",
        "functions-2d",
        "functions-2d-epochs",
        "functions-2d-gates",
        "images",
        "filters",
    ]
    for table in tables(all_records(seeds=1)):
        assert table.rows
        assert table.notes


def test_reached():
    last = ((0.9, 0.25), (0.8, 0.25), (0.7, None))
    runs = [
        function_record("dgn", seed, scores=((0.0, 0.0), (0.0, 0.0), scores))
        for seed, scores in enumerate(last)
    ]
    table = _named(runs)["functions-1d"]
    assert table.columns == ("Network", "k = 1", "k = 4", "Parameters")
    assert table.rows == (
        ("DGN", "0.800 ± 0.100", "0.250 ± 0.000 (1 diverged)", f"{runs[0].parameters:,}"),
    )


def test_signs():
    run = function_record("dnn", scores=((0.0, 0.0), (0.0, 0.0), (-0.0001, -0.5)))
    assert _named([run])["functions-1d"].rows[0][1:3] == ("0.000", "−0.500")


def test_when():
    runs = [
        function_record("dnn", 0, scores=((0.0, 0.0), (0.6, 0.0), (0.95, 0.0))),
        function_record("dnn", 1, scores=((0.0, 0.0), (0.4, 0.0), (0.6, 0.0))),
    ]
    table = _named(runs)["functions-1d-epochs"]
    assert table.rows == (
        ("DNN, R² ≥ 0.5", "2", "–"),
        ("DNN, R² ≥ 0.9", "3 (1 of 2)", "–"),
        ("DNN, R² ≥ 0.99", "–", "–"),
    )


def test_gates():
    table = _named([function_record(seed=0), function_record(seed=1)])["functions-1d-gates"]
    assert table.columns == ("Gates", "Untrained", "k = 1", "k = 4")
    assert table.rows == (("Layer 1", "1", "2", "2"), ("Layer 2", "0.2", "0.4", "0.4"))


def test_images():
    accuracies = {("dnn", 0): 0.8, ("dnn", 1): 0.6, ("dlgn", 0): 0.4, ("dlgn", 1): 0.6}
    runs = [
        image_record(kind, seed, band, accuracy)
        for (kind, seed), accuracy in accuracies.items()
        for band in ("all", "high")
    ]
    runs = [r for r in runs if (r.kind, r.measurements["band"]) != ("dlgn", "high")]
    table = _named(runs)["images"]
    assert table.columns == (
        "Network",
        "All frequencies, %",
        "Recovered, %",
        "High-pass, %",
        "Recovered, %",
    )
    assert table.rows[0][:2] == ("DNN", "70.00 ± 14.14")
    assert table.rows[1] == ("DLGN", "50.00 ± 14.14", "75.00 ± 35.36", "–", "–")
    assert "at most 2 cycles an image, which holds 62 %" in table.notes[0]


def test_filters():
    table = _named(all_records())["filters"]
    assert table.columns[:3] == ("Gates", "All frequencies: before, %", "After, %")
    assert table.rows[0] == ("Layer 1", *("60.00 ± 0.00", "80.00 ± 0.00") * 3)
    assert "alike has 60 %" in table.notes[0]


@pytest.mark.parametrize("part", ["functions", "images"])
def test_parts_alone(part):
    made = [r for r in all_records() if ("band" in r.measurements) == (part == "images")]
    names = list(_named(made))
    assert names
    assert all(name.startswith("functions") == (part == "functions") for name in names)


def test_diverged_images_have_no_spectra():
    run = image_record()
    taken = {name: run.measurements[name] for name in ("band", "radius", "disc_energy")}
    lost = dataclasses.replace(run, status="diverged", test_accuracy=None, measurements=taken)
    assert list(_named([lost])) == ["images"]
    assert _named([lost])["images"].rows == (("DLGN", "–", "–"),)
