"""The table of the experiment `shallow`."""

from __future__ import annotations

from collections.abc import Sequence

from dualview.experiments.records import RunRecord
from dualview.experiments.summary import in_order, network_cells, summarise
from dualview.experiments.tables import Table

COMPARED_KINDS = ("dnn", "dlgn", "dlgn-sf")


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """Accuracy of DNN, DLGN and DLGN-SF, a row for each."""
    rows = summarise(in_order(records, COMPARED_KINDS))
    return [
        Table(
            "shallow-features",
            "Deep or shallow gates",
            ("Network", "Test accuracy, %", "Recovered, %", "Parameters", "Runs"),
            tuple(network_cells(row) for row in rows),
            (
                "Test accuracy after the last epoch, mean ± sample standard deviation over seeds; "
                "recovered: divided by the DNN’s with the same seed. No numbers of this comparison "
                "were at hand to set beside it.",
            ),
        )
    ]
