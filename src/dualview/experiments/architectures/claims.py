"""What the experiment `architectures` says of the published recovery."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from dualview.experiments.architectures.tables import by_architecture
from dualview.experiments.claims import Claim, Finding, setting_of
from dualview.experiments.naming import architecture_name
from dualview.experiments.published import DLGN_RECOVERY
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import summarise

CLAIMED_DATA = ("CIFAR-10", "CIFAR-100")
"""What the published claim is about."""


def _recovery(records: Sequence[RunRecord], data: str) -> tuple[Finding, ...]:
    """Recovered accuracy of the DLGN on `data`; architectures that disagree are told apart."""
    if records[0].data.partition(",")[0] != data:
        return ()
    shares: dict[bool, list[str]] = {}
    runs: dict[bool, list[RunRecord]] = {}
    for arch, group in by_architecture(records):
        row = next((row for row in summarise(group) if row.kind == "dlgn"), None)
        if row and row.recovered_mean is not None:
            holds = row.recovered_mean > DLGN_RECOVERY.at_least
            shares.setdefault(holds, []).append(f"{row.recovered} % ({architecture_name(arch)})")
            compared = [run for run in group if run.kind in ("dnn", "dlgn")]
            runs.setdefault(holds, []).extend(compared)
    return tuple(
        Finding(f"{', '.join(each)} recovered", holds, setting_of(runs[holds]))
        for holds, each in shares.items()
    )


CLAIMS = tuple(
    Claim(
        text=f"A DLGN keeps more than 83.5 % of the DNN’s accuracy on {data}",
        published=f"> {100 * DLGN_RECOVERY.at_least:g} % ({DLGN_RECOVERY.source})",
        find=partial(_recovery, data=data),
    )
    for data in CLAIMED_DATA
)
