"""The table of the experiment `gating`. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dualview.experiments.gating.changes import BASE, CHANGES
from dualview.experiments.naming import architecture_name
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import grouped, in_order, mean_percent, mean_sd, points, runs_cell
from dualview.experiments.tables import Table

_NOTE = (
    "Accuracy after the last epoch, mean ± sample standard deviation over seeds. Against the DLGN: "
    "the difference of validation accuracies, seed by seed. Training accuracy is the mean over the "
    "last epoch, of images that are mirrored and shifted where the preset does so, while the "
    "network still learns. Rows below “DLGN” differ from it in what they name. The test images "
    "choose nothing here, and are not shown."
)


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """A row for each network of each architecture: validation accuracy first."""
    columns = (
        "Network",
        "Validation, %",
        "Against the DLGN, points",
        "Training, %",
        "Parameters",
        "Epochs",
        "Train images",
        "Runs",
    )
    rows = tuple(
        _row(arch, name, runs, by_change.get(BASE, []))
        for arch, by_change in by_architecture(records).items()
        for name, runs in by_change.items()
    )
    return [Table("gating", "What holds a DLGN back", columns, rows, (_NOTE,))]


def by_architecture(records: Sequence[RunRecord]) -> Mapping[str, Mapping[str, list[RunRecord]]]:
    """Architecture -> change -> its runs, in the order of the experiment."""
    by_arch = grouped(in_order(records, CHANGES), lambda r: r.architecture)
    return {arch: grouped(runs, lambda r: r.kind) for arch, runs in by_arch.items()}


def validation(runs: Sequence[RunRecord]) -> dict[int, float]:
    """Seed -> accuracy on the validation images after the last epoch, of the finished runs."""
    return {
        run.seed: last.validation_accuracy
        for run in runs
        if run.status == "finished" and run.curve
        for last in run.curve[-1:]
        if last.validation_accuracy is not None
    }


def against(runs: Sequence[RunRecord], base: Sequence[RunRecord]) -> list[float]:
    """Differences of validation accuracies, of the seeds that both have."""
    ours, theirs = validation(runs), validation(base)
    return [value - theirs[seed] for seed, value in ours.items() if seed in theirs]


def title_of(name: str) -> str:
    """How tables and figures name a network: a changed DLGN by what was changed."""
    return CHANGES[name].title


def _row(
    arch: str, name: str, runs: Sequence[RunRecord], base: Sequence[RunRecord]
) -> tuple[str, ...]:
    first, found = runs[0], validation(runs)
    train = [run.curve[-1].train_accuracy for run in runs if run.seed in found]
    return (
        f"{architecture_name(arch)}, {title_of(name)}",
        mean_percent(list(found.values())),
        "–" if name == BASE else points(*mean_sd(against(runs, base))),
        mean_percent(train),
        f"{first.parameters:,}",
        str(first.epochs),
        f"{first.n_train:,}",
        runs_cell(len(found), sum(run.status == "diverged" for run in runs)),
    )
