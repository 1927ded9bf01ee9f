"""What the experiment `invariances` says of constant inputs and shuffled gates."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from dualview.experiments.claims import Claim, Finding, setting_of
from dualview.experiments.invariances.tables import (
    inputs_of,
    order_differences,
    orders_of,
)
from dualview.experiments.published import DUAL_PAPER
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import kind_name, mean_sd, paired_differences, points

SIGNIFICANT = 0.01
"""The papers give no number; a loss of one point counts as significant here."""
PUBLISHED = f"without significant loss, no number ({DUAL_PAPER}, abstract)"


def _constant_input(records: Sequence[RunRecord]) -> Finding | None:
    inputs = inputs_of(records)
    changes = {
        kind: values
        for kind in ("dgn", "dlgn")
        if (values := paired_differences(inputs, f"{kind}-ones", kind))
    }
    if not changes:
        return None
    each = ", ".join(f"{points(*mean_sd(found))} ({kind_name(k)})" for k, found in changes.items())
    holds = all(fmean(values) > -SIGNIFICANT for values in changes.values())
    runs = [run for run in inputs if run.kind.partition("-")[0] in changes]
    return Finding(f"{each} points", holds, setting_of(runs))


def _shuffled_gates(records: Sequence[RunRecord]) -> Finding | None:
    orders = orders_of(records)
    changes = [fmean(values) for values in order_differences(orders).values()]
    if not changes:
        return None
    runs = [run for found in orders.values() for run in found]
    count = f"{len(changes)} of 23 other orders of the gates"
    return Finding(
        f"{points(*mean_sd(changes))} points ({count})",
        fmean(changes) > -SIGNIFICANT,
        setting_of(runs),
    )


CLAIMS = (
    Claim(
        text="Weights learn as well when they see the constant 1 in place of the data",
        published=PUBLISHED,
        find=_constant_input,
    ),
    Claim(
        text="Weights learn as well when the gates’ layers are shuffled",
        published=PUBLISHED,
        find=_shuffled_gates,
    ),
)
