"""What the experiment `alignment` says of kernels that come to suit the labels."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from dualview.experiments.alignment.tables import complexity_ratio
from dualview.experiments.claims import Claim, Finding, setting_of
from dualview.experiments.published import NPK_PAPER
from dualview.experiments.records import RunRecord


def _falls(records: Sequence[RunRecord]) -> Finding | None:
    """The complexity of the ReLU network's gates at the end of training, over that at its start."""
    runs = [run for run in records if run.kind == "dnn" and run.status == "finished"]
    ratios = [ratio for run in runs if (ratio := complexity_ratio(run)) is not None]
    if not ratios:
        return None
    fell = sum(ratio < 1 for ratio in ratios)
    return Finding(
        f"to {fmean(ratios):.2f} of its start; it fell in {fell} of {len(ratios)} runs",
        fell == len(ratios),
        setting_of(runs),
    )


CLAIMS = (
    Claim(
        text="While a network learns, the kernel of its gates comes to suit the labels "
        "(its complexity falls)",
        published=f"it falls, as a curve, no number ({NPK_PAPER})",
        find=_falls,
    ),
)
