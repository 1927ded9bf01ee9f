"""What the experiment `width` says of networks that are not infinitely wide."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from dualview.experiments.claims import Claim, Finding, setting_of
from dualview.experiments.published import NPK_PAPER
from dualview.experiments.records import RunRecord
from dualview.experiments.width.tables import by_width, mean_spreads

MOST_ERRORS = 4.0
"""Standard errors by which a drawn spread may be off its closed form."""


def _closed_form(records: Sequence[RunRecord]) -> Finding | None:
    """Drawn spreads beside the closed form, width by width; errors of one seed do not average."""
    known = [runs for runs in by_width(records) if mean_spreads(runs, "formula")]
    if not known:
        return None
    off = [
        abs(fmean(mean_spreads(runs, "spread")) - fmean(mean_spreads(runs, "formula")))
        / fmean(mean_spreads(runs, "spread_error"))
        for runs in known
    ]
    narrow, wide = known[0], known[-1]
    first, last = (100 * fmean(mean_spreads(runs, "formula")) for runs in (narrow, wide))
    return Finding(
        f"{first:.0f} % at width {narrow[0].width}, {last:.0f} % at width {wide[0].width}; drawn "
        f"within {max(off):.1f} standard errors of it",
        max(off) <= MOST_ERRORS,
        setting_of([run for runs in known for run in runs]),
    )


CLAIMS = (
    Claim(
        text="How far a finite network’s NTK is from its expectation follows from its gates, in "
        "closed form",
        published=f"the limit of width only ({NPK_PAPER}, theorem 5.1)",
        find=_closed_form,
    ),
)
