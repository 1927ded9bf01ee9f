"""The tables of the experiment `pruning`. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dualview.experiments.naming import architecture_name
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import by_network, kind_name, mean_percent
from dualview.experiments.tables import Table

COMPARED = ("dnn", "dlgn")
ORDERS: Mapping[str, str] = {
    "size": "size",
    "balanced size": "size, balanced network",
    "paths": "paths",
}
"""Order of removal -> how tables and figures name it."""
SHOWN = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)
"""Shares with a column."""

_NOTE = (
    "Test accuracy in %, mean ± sample standard deviation over seeds, when so many of the dense "
    "and convolutional weights are removed, least important first; nothing is trained afterwards. "
    "In a DLGN the weights network alone is thinned out, and its gates stay."
)
_BOUND = (
    "What the path norm loses by removal, times the largest input, bounds the change of all logits "
    "together, on any input of that size; here beside the largest change over 256 test examples. "
    "The weights that matter least by their paths are removed. First seed."
)


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """Accuracies by order and share, and the bound beside what happened."""
    groups = thinned_out(records)
    if not groups:
        return []
    rows = [
        (f"{network_name(runs[0])}: {name}", *(_accuracy(runs, key, share) for share in SHOWN))
        for runs in groups
        for key, name in ORDERS.items()
    ]
    columns = ("Removed by", *(f"{100 * share:.0f} %" for share in SHOWN))
    first = Table("pruning", "Accuracy without the least weights", columns, tuple(rows), (_NOTE,))
    bounds = [
        (f"{network_name(runs[0])}: {name}", *(_number(runs[0], key, share) for share in SHOWN[1:]))
        for runs in groups
        for key, name in (("change", "largest change"), ("bound", "bound"))
    ]
    columns = ("Logits", *(f"{100 * share:.0f} %" for share in SHOWN[1:]))
    second = Table("bound", "What the path norm promises", columns, tuple(bounds), (_BOUND,))
    return [first, second]


def thinned_out(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Runs of one network together, in the experiment's order; those that were thinned out."""
    return by_network((r for r in records if "shares" in r.measurements), COMPARED)


def network_name(record: RunRecord) -> str:
    """Architecture and kind."""
    return f"{architecture_name(record.architecture)}, {kind_name(record.kind)}"


def _accuracy(runs: Sequence[RunRecord], order: str, share: float) -> str:
    found = [run.measurements for run in runs]
    return mean_percent([one[order][one["shares"].index(share)] for one in found])


def _number(run: RunRecord, name: str, share: float) -> str:
    kept = run.measurements
    return f"{kept[name][kept['shares'].index(share)]:.3g}"
