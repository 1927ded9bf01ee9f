"""Properties proved here.

1. The score is the last epoch's test accuracy, not the highest, which stands beside it.
2. A run that diverged has no score, whatever its finished epochs reached.
3. The CSV holds every number of the curve exactly, and an empty cell where there is none.
"""

import csv
from dataclasses import asdict

import pytest

from dualview.training import EpochMetrics, TrainingResult
from dualview.training.metrics import write_metrics


def _epoch(epoch, test_accuracy, validation=0.5):
    return EpochMetrics(
        epoch, 1 / 3, 0.1, validation, validation, 2 / 3, test_accuracy, 1e-3, 0.25 * (epoch + 1)
    )


CURVE = (_epoch(0, 0.5), _epoch(1, 0.9), _epoch(2, 0.7, validation=None))


def test_the_score_is_the_last_epochs():
    result = TrainingResult("finished", "", CURVE, 10, "cpu")
    assert result.test_accuracy == 0.7
    assert result.max_test_accuracy_over_epochs == 0.9
    assert result.seconds == pytest.approx(1.5)


def test_a_diverged_run_has_no_score():
    result = TrainingResult("diverged", "the loss is nan", CURVE, 10, "cpu")
    assert result.test_accuracy is None
    assert result.max_test_accuracy_over_epochs is None
    assert TrainingResult("diverged", "at once", (), 10, "cpu").seconds == 0


def test_csv_holds_the_curve(tmp_path):
    write_metrics(CURVE, tmp_path / "metrics.csv")
    with (tmp_path / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    read = [{k: None if v == "" else float(v) for k, v in row.items()} for row in rows]
    assert read == [asdict(epoch) for epoch in CURVE]
