"""The table of the experiment `kernel-learner`. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dualview.experiments.naming import architecture_name
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import by_network, mean_percent
from dualview.experiments.tables import Table

LEARNT, DRAWN = "dlgn", "dlgn-drawn"
ON_GATES: Mapping[str, str] = {LEARNT: "DLGN, learnt gates", DRAWN: "DLGN, drawn gates"}
"""Kind of a record -> how tables and progress name it."""

_NOTE = (
    "Accuracy on the test images in %, mean ± sample standard deviation over seeds. Network and "
    "kernel machine learn from the same images. The kernel is the exact neural path kernel of hard "
    "gates; the machine is ridge regression on it, its ridge the one of 17 that is best on the "
    "validation images. Drawn gates: the gating network is never trained."
)


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """Network and kernel machine, a row for each architecture and kind of gates."""
    groups = runs_by_gates(records)
    if not groups:
        return []
    columns = (
        "Gates",
        "Train images",
        "Test images",
        "Epochs",
        "Network, soft gates",
        "Network, hard gates",
        "Kernel machine",
        "Runs",
    )
    rows = tuple(_row(runs) for runs in groups)
    return [Table("kernel-learner", "Network and kernel machine", columns, rows, (_NOTE,))]


def runs_by_gates(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Finished runs of one architecture and kind together, in the experiment's order."""
    return by_network((r for r in records if "kernel" in r.measurements), ON_GATES)


def _row(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    first = runs[0]
    return (
        f"{architecture_name(first.architecture)}, {ON_GATES[first.kind]}",
        f"{first.n_train:,}",
        f"{first.n_test:,}",
        str(first.epochs),
        *(
            mean_percent([run.measurements[name] for run in runs])
            for name in ("soft", "hard", "kernel")
        ),
        str(len(runs)),
    )
