"""What the experiment `architectures` says of the published recovery."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from dualview.experiments.architectures.tables import by_architecture
from dualview.experiments.claims import Claim, Finding, setting_of
from dualview.experiments.naming import architecture_name
from dualview.experiments.published import DLGN_RECOVERY
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import SummaryRow, summarise

CLAIMED_DATA = ("CIFAR-10", "CIFAR-100")
"""What the published claim is about."""


def _recovery(records: Sequence[RunRecord], data: str) -> Finding | None:
    """Recovered accuracy of the DLGN, of every architecture that was trained on `data`."""
    if records[0].data.partition(",")[0] != data:
        return None
    shares: dict[str, SummaryRow] = {}
    runs: list[RunRecord] = []
    for arch, group in by_architecture(records):
        row = next((row for row in summarise(group) if row.kind == "dlgn"), None)
        if row and row.recovered_mean is not None:
            shares[arch] = row
            runs += [run for run in group if run.kind in ("dnn", "dlgn")]
    if not shares:
        return None
    each = ", ".join(
        f"{row.recovered} % ({architecture_name(arch)})" for arch, row in shares.items()
    )
    holds = all((row.recovered_mean or 0.0) > DLGN_RECOVERY.at_least for row in shares.values())
    return Finding(f"{each} recovered", holds, setting_of(runs))


CLAIMS = tuple(
    Claim(
        text=f"A DLGN keeps more than 83.5 % of the DNN’s accuracy on {data}",
        published=f"> {100 * DLGN_RECOVERY.at_least:g} % ({DLGN_RECOVERY.source})",
        find=partial(_recovery, data=data),
    )
    for data in CLAIMED_DATA
)
