"""The table of the experiment `distillation`. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dualview.experiments.naming import architecture_name
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import (
    grouped,
    in_order,
    kind_name,
    mean_percent,
    mean_sd,
    points,
    runs_cell,
)
from dualview.experiments.tables import Table

TEACHER = "dnn"
ROUTES: Mapping[str, str] = {
    "dlgn": "DLGN from nothing",
    "dlgn-copied": "DLGN, copied weights",
    "dlgn-distilled": "DLGN, distilled",
    "dlgn-distilled-half": "DLGN, distilled, half the epochs",
}
"""Kind of a record -> how tables name it."""


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """Accuracy of the teacher and of each route, with soft and with hard gates."""
    ordered = in_order(records, (TEACHER, *ROUTES))
    groups = grouped(ordered, lambda r: (r.architecture, r.kind))
    rows = [
        _row(arch, kind, runs, groups.get((arch, TEACHER), []))
        for (arch, kind), runs in groups.items()
    ]
    return [
        Table(
            "distillation",
            "From a trained network to a DLGN",
            (
                "Network",
                "Epochs",
                "Before, %",
                "Soft gates, %",
                "Hard gates, %",
                "Hard − soft, points",
                "Recovered (hard), %",
                "Runs",
            ),
            tuple(rows),
            (
                "Test accuracy, mean ± sample standard deviation over seeds. Before: untrained, "
                "with the teacher’s parameters in both networks. Hard gates: 1{q > 0} in place of "
                "the gates it was trained with. Recovered: divided by the teacher’s, seed by seed.",
            ),
        )
    ]


def _row(
    arch: str, kind: str, runs: Sequence[RunRecord], teachers: Sequence[RunRecord]
) -> tuple[str, ...]:
    finished = [run for run in runs if run.status == "finished"]
    soft, hard = (_measured(finished, name) for name in ("soft", "hard"))
    scores = {run.seed: run.test_accuracy for run in finished if run.test_accuracy is not None}
    taught = {run.seed: run.test_accuracy for run in teachers if run.test_accuracy}
    shown = hard or scores
    recovered = [value / taught[seed] for seed, value in shown.items() if seed in taught]
    name = ROUTES.get(kind) or f"{kind_name(kind)}, the teacher"
    changes = [hard[seed] - value for seed, value in soft.items() if seed in hard]
    return (
        f"{architecture_name(arch)}, {name}",
        " and ".join(dict.fromkeys(str(run.epochs) for run in runs)),
        mean_percent(list(_measured(finished, "before").values())),
        mean_percent(list((soft or scores).values())),
        mean_percent(list(hard.values())),
        points(*mean_sd(changes)),
        mean_percent(recovered),
        runs_cell(len(finished), len(runs) - len(finished)),
    )


def _measured(runs: Sequence[RunRecord], name: str) -> dict[int, float]:
    """Seed -> a measurement, of the runs that have it."""
    return {run.seed: run.measurements[name] for run in runs if name in run.measurements}
