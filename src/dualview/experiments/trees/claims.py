"""What the experiment `trees` says of hyperplanes that move to the labels' discontinuities."""

from __future__ import annotations

from collections.abc import Sequence

from dualview.experiments.claims import Claim, Finding, setting_of
from dualview.experiments.records import RunRecord
from dualview.experiments.trees.tables import by_columns, level_mean


def _moves(records: Sequence[RunRecord]) -> Finding | None:
    """The mean angle of the nearest gates, before and after training, in every run."""
    groups = by_columns(records)
    if not groups:
        return None
    runs = [run for group in groups.values() for run in group]
    nearer = [level_mean([r], "angles-dlgn") < level_mean([r], "angles-dlgn-start") for r in runs]
    told = (
        f"{count} columns: {level_mean(group, 'angles-dlgn-start'):.0f}° → "
        f"{level_mean(group, 'angles-dlgn'):.0f}°, at the root "
        f"{level_mean(group, 'angles-dlgn-start', 0):.0f}° → "
        f"{level_mean(group, 'angles-dlgn', 0):.0f}°"
        for count, group in groups.items()
    )
    return Finding("; ".join(told), all(nearer), setting_of(runs))


CLAIMS = (
    Claim(
        text="The hyperplanes of a DLGN move to the discontinuities of the labels (angle between "
        "an oblique tree’s hyperplanes and the nearest gates)",
        published="they move there, no number (“Deep networks learn features from local "
        "discontinuities in the label function”, ICLR 2025)",
        find=_moves,
    ),
)
