"""What the experiment `pruning` says of path norms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from dualview.experiments.claims import Claim, Finding, setting_of
from dualview.experiments.pruning.tables import network_name, thinned_out
from dualview.experiments.records import RunRecord

PATH_MAGNITUDES = "arXiv 2405.15006"
HALF = 0.5
"""Of the weights, where orders are compared: networks are still of use there."""


def _by_paths(records: Sequence[RunRecord]) -> Finding | None:
    """Accuracy left by either order, network by network; means over seeds."""
    groups = thinned_out(records)
    if not groups:
        return None
    left = {
        network_name(runs[0]): [fmean(_accuracy(run, order) for run in runs) for order in _ORDERS]
        for runs in groups
    }
    numbers = "; ".join(
        f"{100 * paths:.1f} against {100 * size:.1f} % ({name})"
        for name, (paths, size) in left.items()
    )
    return Finding(
        f"half of the weights gone: {numbers}",
        all(paths >= size for paths, size in left.values()),
        setting_of([run for runs in groups for run in runs]),
    )


_ORDERS = ("paths", "size")


def _accuracy(run: RunRecord, order: str) -> float:
    kept = run.measurements
    accuracy: float = kept[order][kept["shares"].index(HALF)]
    return accuracy


def _bound(records: Sequence[RunRecord]) -> Finding | None:
    """The largest change of the logits beside what the path norm allows, where weights are gone."""
    runs = [run for group in thinned_out(records) for run in group]
    pairs = [
        (change, bound)
        for run in runs
        for change, bound in zip(run.measurements["change"], run.measurements["bound"], strict=True)
        if change > 0
    ]
    if not pairs:
        return None
    ratios = [math.log10(bound / change) for change, bound in pairs if bound > 0]
    span = f"10^{min(ratios):.0f} to 10^{max(ratios):.0f} times" if ratios else "0 times"
    return Finding(
        f"the bound is {span} the largest change seen: it holds, and says little"
        if all(change <= bound for change, bound in pairs)
        else f"the bound is {span} the largest change seen",
        all(change <= bound for change, bound in pairs),
        setting_of(runs),
    )


CLAIMS = (
    Claim(
        text="Removing the weights that matter least by their paths keeps at least the accuracy "
        "that removing the smallest keeps",
        published=f"comparable or better, no number at hand ({PATH_MAGNITUDES})",
        find=_by_paths,
    ),
    Claim(
        text="The path norm bounds how far removed weights move the network’s outputs",
        published=f"a theorem ({PATH_MAGNITUDES})",
        find=_bound,
    ),
)
