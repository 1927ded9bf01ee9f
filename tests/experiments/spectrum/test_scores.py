"""Properties proved here.

1. R2 is 1 - error / variance, number by number; None stays None.
2. A threshold is reached in the first measured epoch that has it, or never.
3. Records are told apart by part and dimension; kinds come in the experiment's order.
4. The low share is the power at the disc's radii over all power.
"""

import pytest

from dualview.experiments.spectrum.scores import (
    explained,
    kinds_of,
    low_share,
    of_dimension,
    of_images,
    reached,
)
from tests.experiments.spectrum.cases import all_records, function_record, image_record
from tests.record_cases import run_record


def test_explained():
    scores = ((0.0, -1.0), (0.25, 0.5), (None, 1.0))
    run = function_record(scores=scores)
    for row, expected in zip(explained(run), scores, strict=True):
        assert row == pytest.approx(list(expected))
    assert run.measurements["test_mse"][0] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("threshold", "expected"), [(0.0, 0), (0.4, 1), (0.5, 1), (0.6, 3), (0.96, None)]
)
def test_reached(threshold, expected):
    run = function_record(scores=((0.0, None), (0.5, None), (0.95, None)))
    assert reached(run, 0, threshold) == expected
    assert reached(run, 1, threshold) is None


def test_parts():
    records = [run_record(), *all_records()]
    assert {run.measurements["dimension"] for run in of_dimension(records, 2)} == {2}
    assert len(of_dimension(records, 1)) == len(of_dimension(records, 2)) == 6
    assert len(of_images(records)) == 12
    assert kinds_of([*reversed(of_dimension(records, 1))]) == ["dnn", "dgn", "dlgn"]
    assert kinds_of(of_images(records)) == ["dnn", "dlgn"]


def test_low_share():
    run = image_record()
    assert low_share(run, "spectra", 0) == pytest.approx(4 / 5)
    assert low_share(run, "spectra_initial", 1) == pytest.approx(3 / 5)
