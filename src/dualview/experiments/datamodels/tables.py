"""The table of the experiment `datamodels`. No torch here."""

from __future__ import annotations

from collections.abc import Sequence

from dualview.experiments.naming import architecture_name, architecture_place
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import mean_error
from dualview.experiments.tables import Table

ATTRIBUTIONS = {
    "kernel machine": "kernel machine on the path kernel",
    "gradient similarity": "similarity of gradients",
    "TRAK": "TRAK, one network",
    "same class": "same class (labels alone)",
}
"""Attribution -> how tables and figures name it, in their order."""


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """A row for every attribution of every network that was scored."""
    rows = [
        (
            f"{architecture_name(one.architecture)}: {ATTRIBUTIONS[name]}",
            mean_error(mean, error),
        )
        for one in scored(records)
        for name, mean, error in scores_of(one)
    ]
    if not rows:
        return []
    first = scored(records)[0].measurements
    note = (
        f"Rank correlation, over {first['subsets']} networks trained on random halves of the "
        f"training examples, of the margin of a test example (log-odds of its class) with the sum "
        f"of what the attribution gives the examples in the half; mean ± standard error over "
        f"{first['targets']} test examples. Attributions are of one DLGN trained on all examples."
    )
    columns = ("Attribution", "Linear datamodelling score ↑")
    return [Table("datamodels", "Attributions to training examples", columns, tuple(rows), (note,))]


def scored(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Networks on all examples, whose attributions were held against the others."""
    found = [one for one in records if "methods" in one.measurements]
    return sorted(found, key=lambda one: (architecture_place(one.architecture), one.seed))


def scores_of(record: RunRecord) -> list[tuple[str, float, float]]:
    """(attribution, mean, standard error), in the order of `ATTRIBUTIONS`."""
    kept = record.measurements
    each = zip(kept["methods"], kept["score"], kept["score_error"], strict=True)
    return sorted(each, key=lambda one: list(ATTRIBUTIONS).index(one[0]))
