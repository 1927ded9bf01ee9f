"""The table of the experiment `distillation`. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dualview.experiments.naming import architecture_name, architecture_place
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import kind_name, mean_sd, percent
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
    groups: dict[str, dict[str, list[RunRecord]]] = {}
    for record in sorted(records, key=_place):
        groups.setdefault(record.architecture, {}).setdefault(record.kind, []).append(record)
    rows = [
        _row(arch, kind, runs, kinds.get(TEACHER, []))
        for arch, kinds in groups.items()
        for kind, runs in kinds.items()
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


def _place(record: RunRecord) -> tuple[tuple[int, str], int, int]:
    kinds = [TEACHER, *ROUTES]
    return architecture_place(record.architecture), kinds.index(record.kind), record.seed


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
    changes = [100 * (hard[seed] - value) for seed, value in soft.items() if seed in hard]
    mean, sd = mean_sd(changes)
    change = "–" if mean is None else f"{mean:+.2f}" + ("" if sd is None else f" ± {sd:.2f}")
    return (
        f"{architecture_name(arch)}, {name}",
        " and ".join(dict.fromkeys(str(run.epochs) for run in runs)),
        percent(*mean_sd(list(_measured(finished, "before").values()))),
        percent(*mean_sd(list((soft or scores).values()))),
        percent(*mean_sd(list(hard.values()))),
        change.replace("-", "−"),
        percent(*mean_sd(recovered)),
        str(len(finished)) + (f" ({len(runs) - len(finished)} diverged)" * (finished != runs)),
    )


def _measured(runs: Sequence[RunRecord], name: str) -> dict[int, float]:
    """Seed -> a measurement, of the runs that have it."""
    return {run.seed: run.measurements[name] for run in runs if name in run.measurements}
