"""The regimes' records -> tables, the published numbers beside the measured ones. No torch here.

Source of the published numbers: arXiv 2006.10529, table of test accuracies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from dualview.experiments.naming import architecture_place, setting_title
from dualview.experiments.published import (
    NPK_PAPER,
    REGIME_ACCURACY,
    REGIME_DATA,
    REGIMES,
    Published,
)
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import (
    SummaryRow,
    mean_percent,
    mean_sd,
    paired_differences,
    percent,
    points,
    summarise,
)
from dualview.experiments.tables import Table

REGIME_NAMES = {
    "frnpf-ii": "FRNPF(II)",
    "frnpf-di": "FRNPF(DI)",
    "dlnpf": "DLNPF",
    "flnpf": "FLNPF",
    "relu": "ReLU",
}
"""How the paper writes each regime; in its order."""


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """Accuracy in each regime, and what learnt gates gain, published numbers beside the measured.

    Args:
        records: of one data set; any architectures, optimisers and widths.
    """
    groups = by_setting(records)
    return [_accuracy_table(groups), _gain_table(groups)]


def by_setting(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Records of one architecture, width and optimiser together, in the paper's order."""

    def place(record: RunRecord) -> tuple[tuple[int, str], int, str, str]:
        arch = architecture_place(record.architecture)
        return arch, record.width or 0, record.config["optimizer"], record.data

    ordered = sorted(records, key=place)
    return [list(group) for _, group in groupby(ordered, place)]


def heading(record: RunRecord) -> str:
    """A setting as tables and figures name it."""
    return f"{setting_title(record.architecture, record.config['optimizer'])}, {record.data}"


def published_for(record: RunRecord) -> Mapping[str, Published]:
    """The published row of the record's architecture and optimiser; empty if there is none."""
    return REGIME_ACCURACY.get((record.architecture, record.config["optimizer"]), {})


def by_regime(records: Sequence[RunRecord]) -> dict[str, SummaryRow]:
    """The regimes of one setting, summed up."""
    return {row.kind: row for row in summarise(records)}


def _accuracy_table(groups: Sequence[Sequence[RunRecord]]) -> Table:
    rows: list[tuple[str, ...]] = []
    for records in groups:
        first, summary = records[0], by_regime(records)
        rows.append((heading(first), *(_last(summary.get(regime)) for regime in REGIMES)))
        rows.append(("  highest of any epoch", *(_highest(records, regime) for regime in REGIMES)))
        numbers = published_for(first)
        if numbers:
            where = REGIME_DATA[first.architecture]
            rows.append((f"  published, {where}", *(str(numbers[regime]) for regime in REGIMES)))
    return Table(
        "regimes",
        "Test accuracy in five regimes, %",
        ("Network, optimiser, data", *(REGIME_NAMES[regime] for regime in REGIMES)),
        tuple(rows),
        _notes(groups),
    )


def _last(row: SummaryRow | None) -> str:
    if row is None:
        return "–"
    diverged = f" ({row.n_diverged} diverged)" if row.n_diverged else ""
    return percent(row.accuracy_mean, row.accuracy_sd) + diverged


def _highest(records: Sequence[RunRecord], regime: str) -> str:
    values = [
        record.max_test_accuracy_over_epochs
        for record in records
        if record.kind == regime and record.max_test_accuracy_over_epochs is not None
    ]
    return mean_percent(values)


def _notes(groups: Sequence[Sequence[RunRecord]]) -> tuple[str, ...]:
    sizes = []
    for records in groups:
        first = records[0]
        seeds = sorted({record.seed for record in records})
        sizes.append(
            f"{setting_title(first.architecture, first.config['optimizer'])}: width {first.width}, "
            f"{first.epochs} epochs, {first.n_train:,} train examples, {len(seeds)} seeds"
        )
    return (
        "Mean ± sample standard deviation over seeds. The first row of each setting is the score, "
        "the accuracy after the last epoch. The published one is the highest of any epoch, which "
        f"looks at the test set: compare it with the second row. Published: {NPK_PAPER}, 5 runs.",
        "; ".join(sizes) + ".",
    )


GAINS = (
    ("flnpf", "frnpf-ii"),
    ("dlnpf", "frnpf-ii"),
    ("relu", "flnpf"),
    ("frnpf-di", "frnpf-ii"),
)
"""What is subtracted from what: learnt from random gates twice, copied from own gates, and what
starting at the gates' own parameters changes."""


def _gain_table(groups: Sequence[Sequence[RunRecord]]) -> Table:
    columns = tuple(f"{REGIME_NAMES[more]} − {REGIME_NAMES[less]}" for more, less in GAINS)
    rows: list[tuple[str, ...]] = []
    for records in groups:
        rows.append((heading(records[0]), *(_gain(records, *pair) for pair in GAINS)))
        numbers = published_for(records[0])
        if numbers:
            differences = (numbers[more].percent - numbers[less].percent for more, less in GAINS)
            where = REGIME_DATA[records[0].architecture]
            rows.append(
                (f"  published, {where}", *(points(value / 100, None) for value in differences))
            )
    return Table(
        "regime-gains",
        "What learnt gates gain, percentage points of test accuracy",
        ("Network, optimiser, data", *columns),
        tuple(rows),
        (
            "Measured: accuracy after the last epoch, subtracted seed by seed, mean ± sample "
            f"standard deviation. Published: differences of the published means ({NPK_PAPER}).",
        ),
    )


def _gain(records: Sequence[RunRecord], more: str, less: str) -> str:
    """Mean difference of two regimes over the seeds for which both finished."""
    return points(*mean_sd(paired_differences(records, more, less)))
