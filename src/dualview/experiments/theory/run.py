"""All statements, tried one after the other, and the record they leave."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from dualview.experiments.records import (
    Provenance,
    provenance,
    read_record,
    record_expected,
)
from dualview.experiments.theory import (
    convolution,
    dense,
    features,
    graph_rules,
    identities,
    residual,
    variance,
    width,
)
from dualview.experiments.theory.measurement import (
    CurveRecord,
    Measurement,
    Series,
    curve_record,
)
from dualview.experiments.theory.statement import Settings, Statement, StatementRecord, judge
from dualview.files.writing import write_json

VERSION = 1

SECTIONS: Mapping[str, str] = {
    "1": "Gates",
    "2": "Networks and their dual form",
    "3": "Paths",
    "4.1": "Kernel of fully connected networks",
    "4.2": "Neural tangent kernel at finite width",
    "4.3": "Convolutions and rotations",
    "4.4": "Residual networks as ensembles",
    "4.5": "Rules for any traced graph",
    "width": "Concentration with width",
    "5": "The two linearities",
    "6": "Random features",
}
"""Section of the theory -> its heading, in the order of the page."""

_OF_SECTION = (identities, dense, convolution, residual, graph_rules, width, variance, features)

STATEMENTS: tuple[Statement, ...] = tuple(
    statement
    for section in SECTIONS
    for module in _OF_SECTION
    for statement in module.STATEMENTS
    if statement.section == section
)
"""Every statement, in the order of the page."""

MEASUREMENTS: tuple[Series, ...] = (
    Series(
        name="dense",
        figure="width",
        label="fully connected",
        kind="dlgn",
        network="DLGN, hard gates, three weight layers",
        measure=functools.partial(width.measure, family=width.DENSE),
    ),
    Series(
        name="convolutional",
        figure="width",
        label="convolutions",
        kind="dgn",
        network="DGN, hard gates, two 3×3 convolutions with zero padding, GAP, one dense layer",
        measure=functools.partial(width.measure, family=width.CONVOLUTIONAL),
    ),
    Series(
        name="features",
        figure="features",
        label="independent",
        kind="dlgn",
        network="DLGN of a post-activation ResNet; every feature has weights of its own",
        measure=functools.partial(features.measure, per_draw=1),
    ),
    Series(
        name="shared-features",
        figure="features",
        label="32 a draw",
        kind="dgn",
        network="the same network; 32 features share the weights of all but the last layer",
        measure=functools.partial(features.measure, per_draw=features.SHARED),
    ),
)
"""What the figures show, and what statements about rates are judged by."""


@dataclass(frozen=True)
class TheoryRecord:
    """All that the page needs."""

    seed: int
    quick: bool
    statements: tuple[StatementRecord, ...]
    curves: tuple[CurveRecord, ...]
    seconds: float
    provenance: Provenance
    version: int = VERSION

    @property
    def failed(self) -> tuple[StatementRecord, ...]:
        """The statements that do not hold."""
        return tuple(record for record in self.statements if not record.holds)


def run_theory(
    settings: Settings | None = None,
    *,
    started: Callable[[str], None] = lambda what: None,
    done: Callable[[StatementRecord], None] = lambda record: None,
) -> TheoryRecord:
    """Try every statement.

    Args:
        settings: seed and size; default: `Settings()`.
        started: told what begins.
        done: given each statement's record as soon as it is known.

    Returns:
        The record. Statements that do not hold are in it like the others.
    """
    settings = settings or Settings()
    start = time.perf_counter()
    by_name = {series.name: series for series in MEASUREMENTS}
    measured: dict[str, tuple[Measurement, float]] = {}

    def measure(name: str) -> None:
        if name not in measured:
            started(f"measuring {by_name[name].figure}: {by_name[name].label}")
            measured[name] = take(by_name[name], settings)

    records = []
    for statement in STATEMENTS:
        if statement.measurement is not None:
            measure(statement.measurement)
        started(statement.title)
        records.append(check(statement, settings, measured))
        done(records[-1])
    for name in by_name:
        measure(name)
    curves = tuple(curve_record(series, *measured[series.name]) for series in MEASUREMENTS)
    return TheoryRecord(
        settings.seed,
        settings.quick,
        tuple(records),
        curves,
        time.perf_counter() - start,
        provenance(f"cpu ({torch.get_num_threads()} threads)"),
    )


def take(series: Series, settings: Settings) -> tuple[Measurement, float]:
    """A measurement from the settings' seed, and the seconds it took."""
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(settings.seed)
        measurement = series.measure(settings)
    return measurement, time.perf_counter() - start


def check(
    statement: Statement,
    settings: Settings,
    measured: Mapping[str, tuple[Measurement, float]] | None = None,
) -> StatementRecord:
    """Compute both sides from the settings' seed, and judge them.

    Args:
        statement: one of `STATEMENTS`.
        settings: seed and size.
        measured: name -> measurement and its seconds, for a statement that is about one.
    """
    start = time.perf_counter()
    source: Settings | Measurement = settings
    earlier = 0.0
    if statement.measurement is not None:
        source, earlier = (measured or {})[statement.measurement]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(settings.seed)
        sides = statement.compute(source)
    return judge(statement, sides, earlier + time.perf_counter() - start)


def save_theory(record: TheoryRecord, path: Path) -> None:
    """Write `record` as JSON; the file appears whole or not at all."""
    write_json(Path(path), asdict(record))


def load_theory(path: Path) -> TheoryRecord:
    """Read a record written by `save_theory`.

    Raises:
        RunError: the file is missing, is no such record, or was written by another version.
    """
    what = "the record of `dualview theory` (theory.json)"
    with record_expected(path, what, "run `dualview theory` again"):
        return read_record(TheoryRecord, path, VERSION)
