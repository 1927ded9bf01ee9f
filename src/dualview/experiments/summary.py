"""Records of single runs -> one row for each kind of network, and the rows as a table of text.

*Recovered* is a run's test accuracy divided by that of the DNN trained with the same seed on the
same data; its mean and standard deviation are taken over those pairs (arXiv 2110.03403 compares so,
without the pairing). Standard deviations are of the sample (n - 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TypeVar

from dualview.errors import RunError
from dualview.experiments.naming import architecture_name, architecture_place
from dualview.experiments.records import RunRecord
from dualview.experiments.tables import Table, align

Item = TypeVar("Item")
Key = TypeVar("Key")

REFERENCE_KIND = "dnn"
"""What the other kinds are compared with."""

KIND_NAMES = {
    "dnn": "DNN",
    "dnn-wide": "DNN, wide",
    "dgn": "DGN",
    "dlgn": "DLGN",
    "dlgn-sf": "DLGN-SF",
}


GUESSES = 2.0
"""A network that is right less often than so many times a guess is near chance."""


@dataclass(frozen=True)
class SummaryRow:
    """All seeds of one kind of network; accuracies and ratios are fractions, not percent.

    Means are None where no run finished, standard deviations where fewer than two did.
    """

    experiment: str
    data: str
    architecture: str
    width: int | None
    kind: str
    seeds: tuple[int, ...]
    """Of the finished runs."""
    n_diverged: int
    accuracy_mean: float | None
    """Test accuracy after the last epoch."""
    accuracy_sd: float | None
    max_accuracy_mean: float | None
    """Of the highest test accuracy over epochs; looks at the test set, for comparison only."""
    recovered_mean: float | None
    recovered_sd: float | None
    n_pairs: int
    """Seeds for which both this kind and the DNN finished."""
    parameters: int
    seconds_mean: float | None
    """Training time of one run."""
    near_chance: bool = False
    """Whether the DNN is right less than twice as often as a guess, so that ratios say little."""

    @property
    def recovered(self) -> str:
        """Recovered accuracy in percent, as tables show it; marked where the DNN hardly learnt."""
        mark = " (near chance)" if self.near_chance and self.recovered_mean is not None else ""
        return percent(self.recovered_mean, self.recovered_sd) + mark

    @property
    def n(self) -> int:
        """Number of finished runs."""
        return len(self.seeds)

    @property
    def runs(self) -> str:
        """Finished runs and diverged ones, as tables show them."""
        return runs_cell(self.n, self.n_diverged)


def summarise(records: Iterable[RunRecord]) -> list[SummaryRow]:
    """One row for each (experiment, data, architecture, width, kind), in the order of appearance.

    Raises:
        RunError: two records tell of the same kind and seed, so that means would count it twice.
    """
    found = []
    settings = grouped(records, lambda r: (r.experiment, r.data, r.architecture, r.width))
    for of_one in settings.values():
        kinds = grouped(of_one, lambda r: r.kind)
        found += [_row(runs, kinds.get(REFERENCE_KIND, [])) for runs in kinds.values()]
    return found


def _row(runs: Sequence[RunRecord], reference: Sequence[RunRecord]) -> SummaryRow:
    accuracies = _accuracies(runs)
    references = _accuracies(reference)
    recovered = [
        accuracy / references[seed]
        for seed, accuracy in accuracies.items()
        if references.get(seed, 0.0) > 0.0
    ]
    finished = [run for run in runs if run.seed in accuracies]
    maxima = [run.max_test_accuracy_over_epochs for run in finished]
    first = runs[0]
    return SummaryRow(
        experiment=first.experiment,
        data=first.data,
        architecture=first.architecture,
        width=first.width,
        kind=first.kind,
        seeds=tuple(accuracies),
        n_diverged=sum(run.status == "diverged" for run in runs),
        accuracy_mean=_mean(list(accuracies.values())),
        accuracy_sd=_sd(list(accuracies.values())),
        max_accuracy_mean=_mean([value for value in maxima if value is not None]),
        recovered_mean=_mean(recovered),
        recovered_sd=_sd(recovered),
        n_pairs=len(recovered),
        parameters=first.parameters,
        seconds_mean=_mean([run.seconds for run in finished]),
        near_chance=_near_chance(first, list(references.values())),
    )


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Key -> the items that have it; keys and items in the order of appearance.

    >>> grouped(["dnn", "dgn", "fc"], len)
    {3: ['dnn', 'dgn'], 2: ['fc']}
    """
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def in_order(records: Iterable[RunRecord], kinds: Iterable[str]) -> list[RunRecord]:
    """Records as tables show them: by architecture, by kind in the order of `kinds`, by seed."""
    order = list(kinds)

    def place(record: RunRecord) -> tuple[tuple[int, str], int, int]:
        return architecture_place(record.architecture), order.index(record.kind), record.seed

    return sorted(records, key=place)


def by_network(records: Iterable[RunRecord], kinds: Iterable[str]) -> list[list[RunRecord]]:
    """Records of one architecture and kind together, `in_order`."""
    ordered = in_order(records, kinds)
    return list(grouped(ordered, lambda r: (r.architecture, r.kind)).values())


def paired_differences(records: Iterable[RunRecord], more: str, less: str) -> list[float]:
    """Accuracy of one kind minus that of another, for each seed with which both finished."""
    scores = {
        (record.kind, record.seed): record.test_accuracy
        for record in records
        if record.test_accuracy is not None
    }
    return [
        score - scores[less, seed]
        for (kind, seed), score in scores.items()
        if kind == more and (less, seed) in scores
    ]


def _near_chance(record: RunRecord, references: Sequence[float]) -> bool:
    """Records of earlier versions do not tell the number of classes, and are never marked."""
    classes = record.config.get("classes")
    return bool(classes and references and fmean(references) * classes < GUESSES)


def _accuracies(runs: Sequence[RunRecord]) -> dict[int, float]:
    """Seed -> score of the finished runs, in the order of the seeds."""
    accuracies: dict[int, float] = {}
    seen: set[int] = set()
    for run in sorted(runs, key=lambda run: run.seed):
        if run.seed in seen:
            raise RunError(
                f"expected one record for each kind and seed, got two of {run.kind!r} with seed "
                f"{run.seed} ({run.experiment}, {run.data}, {run.architecture}); leave one out"
            )
        seen.add(run.seed)
        if run.status == "finished" and run.test_accuracy is not None:
            accuracies[run.seed] = run.test_accuracy
    return accuracies


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _sd(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def kind_name(kind: str) -> str:
    """How tables and reports write a kind.

    >>> kind_name("dlgn-ones")
    'DLGN, ones'
    """
    base = kind.removesuffix("-ones")
    return KIND_NAMES.get(base, base) + (", ones" if kind != base else "")


def summary_table(records: Iterable[RunRecord]) -> Table:
    """Accuracy of every kind of every architecture, for records of any experiment."""
    rows = summarise(records)
    return Table(
        "accuracy",
        "Accuracy",
        ("Network", "Test accuracy, %", "Recovered, %", "Parameters", "Runs"),
        tuple(network_cells(row) for row in rows),
        (
            "Test accuracy after the last epoch, mean ± sample standard deviation over seeds; "
            "recovered: divided by the DNN’s with the same seed.",
        ),
    )


def network_cells(row: SummaryRow) -> tuple[str, ...]:
    """A row as tables show it: network, accuracy, recovered accuracy, parameters, runs."""
    return (
        f"{architecture_name(row.architecture)}, {kind_name(row.kind)}",
        percent(row.accuracy_mean, row.accuracy_sd),
        row.recovered,
        f"{row.parameters:,}",
        row.runs,
    )


def format_summary(rows: Sequence[SummaryRow]) -> str:
    """The rows as one table of text; the caller's rows share data and architecture."""
    header = ("network", "accuracy %", "recovered %", "parameters", "seconds", "runs")
    return "\n".join(align(header, [_cells(row) for row in rows]))


def _cells(row: SummaryRow) -> tuple[str, ...]:
    seconds = "–" if row.seconds_mean is None else f"{row.seconds_mean:.1f}"
    return (
        kind_name(row.kind),
        percent(row.accuracy_mean, row.accuracy_sd),
        row.recovered,
        f"{row.parameters:,}",
        seconds,
        row.runs,
    )


def runs_cell(finished: int, diverged: int) -> str:
    """How many runs finished, and how many did not.

    >>> runs_cell(3, 0), runs_cell(2, 1)
    ('3', '2 (1 diverged)')
    """
    return f"{finished}" + (f" ({diverged} diverged)" if diverged else "")


def percent(mean: float | None, sd: float | None) -> str:
    """A fraction and its standard deviation as percent.

    >>> percent(0.98125, 0.0042), percent(0.98125, None), percent(None, None)
    ('98.12 ± 0.42', '98.12', '–')
    """
    if mean is None:
        return "–"
    return f"{100 * mean:.2f}" + ("" if sd is None else f" ± {100 * sd:.2f}")


def points(mean: float | None, sd: float | None) -> str:
    """A difference of two fractions in percentage points, with its sign.

    >>> points(-0.0125, 0.002), points(0.01, None), points(None, None)
    ('−1.25 ± 0.20', '+1.00', '–')
    """
    if mean is None:
        return "–"
    return f"{100 * mean:+.2f}".replace("-", "−") + ("" if sd is None else f" ± {100 * sd:.2f}")


def mean_error(mean: float, error: float) -> str:
    """A score that is no percentage, and its standard error.

    >>> mean_error(-0.25, 0.0125)
    '−0.250 ± 0.013'
    """
    return f"{mean:.3f} ± {error:.3f}".replace("-", "−")


def mean_percent(values: Sequence[float]) -> str:
    """Fractions as the mean and standard deviation of their percentages.

    >>> mean_percent([0.98, 0.99]), mean_percent([])
    ('98.50 ± 0.71', '–')
    """
    return percent(*mean_sd(values))


def mean_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean, and sample standard deviation; None for what so few values do not give.

    >>> mean_sd([1.0, 3.0]), mean_sd([1.0]), mean_sd([])
    ((2.0, 1.4142135623730951), (1.0, None), (None, None))
    """
    return _mean(values), _sd(values)
