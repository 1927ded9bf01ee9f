"""Records of `gate-learning` -> its table, published numbers beside the measured. No torch here.

Source of the published numbers: arXiv 2006.10529, section 5 (continuous gate learning).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dualview.experiments.naming import architecture_name, counted
from dualview.experiments.published import CNTK, GATE_LEARNING, NPK_PAPER
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import grouped, mean_percent
from dualview.experiments.tables import Table

GATES, WEIGHTS = "gates", "weights"
"""Kinds of records: the ReLU network that learns the gates, and the one that gets them frozen."""


@dataclass(frozen=True)
class Stage:
    """All seeds at one stage; accuracies are fractions, in the order of the seeds."""

    number: int
    gate_epochs: int
    """That the ReLU network has been trained."""
    relu: tuple[float, ...]
    """Accuracy of that network; empty at stage 0."""
    weights: tuple[float, ...]
    """Of the fresh weights network, after its last epoch."""
    highest: tuple[float, ...]
    """The same, highest of any epoch."""
    kernel: tuple[float, ...]
    """Of kernel regression on the subset."""
    overlap: tuple[tuple[float, ...], ...] = ()
    """With the initial gates, of each seed a number for each layer; empty where not recorded."""


def by_stage(records: Sequence[RunRecord]) -> list[Stage]:
    """The finished runs of one setting, stage by stage."""
    finished = [record for record in records if record.test_accuracy is not None]
    ordered = sorted(finished, key=lambda record: record.seed)
    numbers = sorted({record.config["stage"] for record in ordered})
    return [
        _stage(number, [record for record in ordered if record.config["stage"] == number])
        for number in numbers
    ]


def _stage(number: int, records: Sequence[RunRecord]) -> Stage:
    weights = [record for record in records if record.kind == WEIGHTS]
    relu = [record for record in records if record.kind == GATES]
    epochs = [record.config["gates_epochs"] for record in weights]
    epochs += [record.config["epochs"] for record in relu]
    return Stage(
        number,
        epochs[0],
        tuple(_known(record.test_accuracy for record in relu)),
        tuple(_known(record.test_accuracy for record in weights)),
        tuple(_known(record.max_test_accuracy_over_epochs for record in weights)),
        tuple(_known(record.measurements.get("kernel_accuracy") for record in weights)),
        tuple(map(tuple, _known(record.measurements.get("initial_overlap") for record in weights))),
    )


def _known(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def settings(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Records of one architecture, width and data together, in the order of appearance."""
    return list(grouped(records, lambda r: (r.architecture, r.width, r.data)).values())


def heading(record: RunRecord) -> str:
    """A setting as tables and figures name it."""
    name = architecture_name(record.architecture)
    return f"{name}, width {record.width}, {record.data}"


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """One table for each setting, a row for each stage; and one of how far the gates moved.

    The latter for settings of which it was recorded; early records have no overlaps.
    """
    groups = settings(records)
    numbers = [""] if len(groups) == 1 else [f"-{i + 1}" for i in range(len(groups))]
    numbered = list(zip(numbers, groups, strict=True))
    accuracies = [_table(f"gate-learning{number}", group) for number, group in numbered]
    moved = [_overlap_table(f"gate-overlap{number}", group) for number, group in numbered]
    return accuracies + [table for table in moved if table.rows]


def _table(name: str, records: Sequence[RunRecord]) -> Table:
    rows = tuple(
        (
            str(stage.number),
            str(stage.gate_epochs),
            mean_percent(stage.weights),
            mean_percent(stage.highest),
            mean_percent(stage.kernel),
            mean_percent(stage.relu),
            str(GATE_LEARNING.get(stage.number, "–")),
        )
        for stage in by_stage(records)
    )
    return Table(
        name,
        f"Test accuracy on frozen gates of each stage, {heading(records[0])}, %",
        (
            "Stage",
            "Epochs of the gates",
            "Fresh weights network",
            "Its highest of any epoch",
            "Kernel regression",
            "The gates’ own network",
            "Published, GCONV, CIFAR-10",
        ),
        rows,
        _notes(records),
    )


def _overlap_table(name: str, records: Sequence[RunRecord]) -> Table:
    stages = [stage for stage in by_stage(records) if stage.overlap]
    layers = len(stages[0].overlap[0]) if stages else 0
    rows = tuple(
        (
            str(stage.number),
            str(stage.gate_epochs),
            *(mean_percent(column) for column in zip(*stage.overlap, strict=True)),
        )
        for stage in stages
    )
    return Table(
        name,
        f"Overlap of the gates of each stage with the initial ones, {heading(records[0])}, %",
        ("Stage", "Epochs of the gates", *(f"Gate {layer + 1}" for layer in range(layers))),
        rows,
        (
            "Mean ± sample standard deviation over seeds of ⟨G, G₀⟩ / (‖G‖ ‖G₀‖), averaged over "
            "the test examples of kernel regression: 100 where all gates are as they were.",
        ),
    )


def _notes(records: Sequence[RunRecord]) -> tuple[str, ...]:
    weights = [record for record in records if record.kind == WEIGHTS]
    seeds = len({record.seed for record in records})
    first = weights[0] if weights else records[0]
    sizes = f"{first.n_train:,} train examples, {counted(seeds, 'seed')}"
    measured = [record.measurements for record in weights if record.measurements]
    kernel = (
        f"Kernel regression learns on {measured[0]['kernel_n_train']:,} of them and is tested on "
        f"{measured[0]['kernel_n_test']:,} test examples, its ridge chosen by the leave-one-out "
        "error on the former. "
        if measured
        else ""
    )
    return (
        f"Mean ± sample standard deviation over seeds, after the last of {first.epochs} epochs of "
        f"the weights network; {sizes}. {kernel}Gates are hard and frozen.",
        f"Published ({NPK_PAPER}): width 64, stages of 10 epochs, 80 epochs of the weights "
        f"network; there the pure kernel method CNTK reaches {CNTK}.",
    )
