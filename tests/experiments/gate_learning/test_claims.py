"""Properties proved here, of the claim that gates get better as they are learnt.

1. It holds where a fresh network gains more than a point from the first stage to the last, is
   contradicted where it loses more, and undecided in between and where random gates are enough.
2. Without weights networks of two stages nothing is said.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from dualview.experiments.gate_learning.claims import CLAIMS
from tests.experiments.gate_learning.test_tables import stage_records

(CLAIM,) = CLAIMS


def at(*accuracies: float) -> list:
    """Records of one seed, whose fresh networks have these accuracies."""
    found = []
    for stage, accuracy in enumerate(accuracies):
        *gates, weights = stage_records(stage, 0)
        found += [*gates, replace(weights, test_accuracy=accuracy)]
    return found


@pytest.mark.parametrize(
    ("accuracies", "holds"),
    [
        ((0.50, 0.48, 0.52), True),
        ((0.50, 0.60, 0.48), False),
        ((0.50, 0.60, 0.505), None),
        ((0.96, 0.98), None),
    ],
)
def test_what_is_said(accuracies, holds):
    found = CLAIM.find(at(*accuracies))
    assert found.holds is holds
    assert f"after stage {len(accuracies) - 1}" in found.measured


def test_nothing_to_say():
    assert CLAIM.find(at(0.5)) is None
    assert CLAIM.find([]) is None
