"""The table of the experiment `explanations`. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dualview.experiments.naming import architecture_name
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import in_order, kind_name, mean_error
from dualview.experiments.tables import Table

MEASURED: Mapping[str, str] = {
    "deletion": "Deletion ↓",
    "insertion": "Insertion ↑",
    "sensitivity": "Sensitivity-n ↑",
    "stability": "Stability ↑",
}
"""Measure -> its column; the arrow says which way is better."""

METHODS: Mapping[str, str] = {
    "paths": "path contributions",
    "softened-paths": "softened paths",
    "gradient-input": "gradient × input",
    "integrated-gradients": "integrated gradients",
    "deeplift": "DeepLIFT",
    "random": "random",
}
"""Method -> how tables and figures name it."""

NOTE = (
    "Mean ± standard error over examples of the test split, drawn at random. Explained is the "
    "logit of the predicted class minus that of the runner-up. Deletion and insertion: mean "
    "probability of the predicted class while pixels are taken away (given back), those first "
    "that speak most for it. Sensitivity-n: correlation of what the explanation gives random sets "
    "of pixels with what the network loses without them. Stability: rank correlation with the "
    "explanation of the same image under noise of 5 % of the pixels’ spread."
)


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """A row for every network and method, in the experiment's order."""
    rows = [
        (f"{network_name(record)}: {METHODS[method]}", *cells)
        for record in tried_ones(records)
        for method, cells in cells_of(record.measurements).items()
    ]
    return [_table("Explanations tried on the network", rows)] if rows else []


def tried_ones(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Those that have been tried, architectures and kinds in the experiment's order."""
    return in_order((r for r in records if "methods" in r.measurements), ("dnn", "dgn", "dlgn"))


def network_name(record: RunRecord) -> str:
    """Architecture and kind, and the seed where it is not the first."""
    seed = f", seed {record.seed}" if record.seed else ""
    return f"{architecture_name(record.architecture)}, {kind_name(record.kind)}{seed}"


def cells_of(found: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Method -> its cells: one a measure, and the number of examples."""
    return {
        method: (
            *(mean_error(found[measure][i], found[f"{measure}_error"][i]) for measure in MEASURED),
            str(found["examples"]),
        )
        for i, method in enumerate(found["methods"])
    }


def table_of(found: Mapping[str, Any], title: str) -> Table:
    """The table of one network."""
    return _table(title, [(METHODS[method], *cells) for method, cells in cells_of(found).items()])


def _table(title: str, rows: Sequence[tuple[str, ...]]) -> Table:
    columns = ("Explanation", *MEASURED.values(), "Examples")
    return Table("explanations", title, columns, tuple(rows), (NOTE,))
