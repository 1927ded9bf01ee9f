"""What the experiment `gate-learning` says of gates that get better as they are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from dualview.experiments.claims import Claim, Finding, setting_of
from dualview.experiments.gate_learning.tables import WEIGHTS, by_stage, settings
from dualview.experiments.published import GATE_LEARNING, NPK_PAPER
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import percent

ROOM = 0.05
"""Data on which fresh weights err less than this on random gates does not ask for learnt ones."""

LEAST = 0.01
"""Less is within what another seed changes, and tells nothing."""


def _rises(records: Sequence[RunRecord]) -> Finding | None:
    """Accuracy on the gates of the last stage against that on random ones, in each setting."""
    found = [by_stage(group) for group in settings(records)]
    ends = [
        (fmean(stages[0].weights), fmean(stages[-1].weights), stages[-1].number)
        for stages in found
        if len(stages) > 1 and stages[0].weights and stages[-1].weights
    ]
    if not ends:
        return None
    each = "; ".join(
        f"{percent(first, None)} % on random gates, {percent(last, None)} % after stage {stage}"
        for first, last, stage in ends
    )
    gains = [last - first for first, last, _ in ends if first < 1 - ROOM]
    tells = [gain for gain in gains if abs(gain) > LEAST]
    holds = all(gain > 0 for gain in tells) if tells else None
    return Finding(each, holds, setting_of([run for run in records if run.kind == WEIGHTS]))


_LAST = max(GATE_LEARNING)

CLAIMS = (
    Claim(
        text="Frozen gates are the better the longer they were learnt",
        published=f"{GATE_LEARNING[0]} % on random gates, {GATE_LEARNING[_LAST]} % after stage "
        f"{_LAST} ({NPK_PAPER}, CIFAR-10)",
        find=_rises,
    ),
)
