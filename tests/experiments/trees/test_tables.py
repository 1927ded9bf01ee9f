"""Both tables by hand: a row for each estimator, angles and offsets by level; the verdict."""

import pytest

from dualview.experiments.trees.claims import CLAIMS
from dualview.experiments.trees.tables import ESTIMATORS, level_mean, tables
from tests.record_cases import run_record


def learnt(seed, shift=0.0, columns=20):
    found = {
        "estimators": list(ESTIMATORS),
        "accuracies": [0.9 + shift] * len(ESTIMATORS),
        "levels": [0, 1, 1],
        "passes": [1, 2],
    }
    for kind in ("dlgn", "dlgn-sf"):
        found |= {f"angles-{kind}-start": [60.0, 70, 50], f"angles-{kind}": [4.0 + shift, 8, 10]}
        found[f"moving-{kind}"] = [[40.0 + shift, 70, 40], [20.0, 30, 10]]
        found[f"moving-offsets-{kind}"] = [[0.9, 0.6, 0.6], [0.4, 0.1, 0.1]]
        found |= {f"offsets-{kind}-start": [1.0, 1, 1], f"offsets-{kind}": [0.5, 0.25, 0.25]}
    return run_record("dlgn", seed, config={"columns": columns}, measurements=found)


def test_rows_by_hand():
    accuracies, gates, moving = tables([learnt(1, 0.02), learnt(0)])
    assert moving.columns == ("Nearest gate", "untrained", "1 pass", "2 passes")
    assert moving.rows[0] == ("20 columns, DLGN: angle", "60.0", "50.0", "20.0")
    assert moving.rows[1] == ("20 columns, DLGN: offset", "1.00", "0.70", "0.20")
    assert accuracies.columns[1].startswith("20 columns")
    assert accuracies.columns[1].endswith("depth 2")
    assert accuracies.rows[0] == ("DLGN", "91.00 ± 1.41", "96.05")
    assert accuracies.rows[-1] == ("CART", "91.00 ± 1.41", "–")
    assert gates.columns == ("Nearest gate", "root", "level 2")
    assert gates.rows[0] == ("20 columns, DLGN: angle", "60.0 → 4.0", "60.0 → 9.0")
    assert gates.rows[1] == ("20 columns, DLGN: offset", "1.00 → 0.50", "1.00 → 0.25")
    assert level_mean([learnt(0)], "angles-dlgn") == pytest.approx(22 / 3)
    assert tables([]) == []


def test_verdict():
    (claim,) = CLAIMS
    finding = claim.find([learnt(0), learnt(1, 0.02)])
    assert finding.holds
    assert finding.measured == "20 columns: 60° → 7°, at the root 60° → 4°"
    assert not claim.find([learnt(0), learnt(1, 500.0)]).holds
    assert claim.find([]) is None
