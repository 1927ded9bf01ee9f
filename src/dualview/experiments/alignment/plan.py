"""Do the gates learn the labels? The NPK's alignment with the labels while a network trains.

Published ([NPK] arXiv 2006.10529): MNIST digits 4 against 7 as -1 and +1, bias-free FC of six
weight layers of width 100, weights +-sqrt(2 / width), squared loss, RMSprop 1e-4, batch 64, 50
epochs, 5 runs; every two epochs, on 100 points of each class, y' (H / tr H)^-1 y with H the NPK at
hard gates.

Measurements of a record: "complexity", "alignment", "rank" and "condition" (see `label_alignment`),
each a list over "epoch", and "points", the number of examples they are taken on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from dualview.experiments.experiment import (
    Experiment,
    Request,
    chosen_kinds,
    data_config,
    is_small,
)
from dualview.experiments.jobs import Job, cost, record, training_config
from dualview.experiments.published import NPK_PAPER
from dualview.experiments.records import RunRecord
from dualview.experiments.summary import kind_name, percent
from dualview.experiments.tables import Table
from dualview.training import TrainSettings, Watcher, train

if TYPE_CHECKING:
    from dualview.datasets import Dataset

KINDS = ("dnn", "dgn", "dlgn")
"""Whose gates can be followed; the paper's is the first."""

NAMES = ("complexity", "alignment", "rank", "condition")

TABLE_ROWS = 8
"""Of the epochs measured, so many stand in the table."""


@dataclass(frozen=True)
class AlignmentPreset:
    """Size and settings of the experiment.

    Attributes:
        classes: names of the two that are told apart; the first is -1.
        width: of the hidden layers.
        points: examples of each class, the first of the train split, that H is taken on.
        every: epochs between measurements.
        seeds: runs of each kind.
        kinds: of network.
        beta: of the soft gates of a DGN or DLGN.
        training: of each run.
    """

    classes: tuple[str, str] = ("4", "7")
    width: int = 100
    points: int = 100
    every: int = 2
    seeds: int = 5
    kinds: tuple[str, ...] = ("dnn",)
    beta: float = 4.0
    training: TrainSettings = field(
        default_factory=lambda: TrainSettings(
            epochs=50,
            batch_size=64,
            loss="squared",
            optimizer="rmsprop",
            learning_rate=1e-4,
            schedule="constant",
        )
    )


PAPER = AlignmentPreset()
"""As published."""
CPU = replace(PAPER, kinds=("dnn", "dlgn"), training=replace(PAPER.training, threads=1))
"""As published, which two cores can do, and the DLGN beside it."""
SMALL = replace(CPU, kinds=KINDS, training=replace(CPU.training, batch_size=8))
"""For the digits: in smaller batches, since 250 examples make few steps."""


def preset(request: Request, data: Dataset) -> AlignmentPreset:
    """The preset's settings with what was asked for in their place."""
    chosen = PAPER if request.preset == "paper" else SMALL if is_small(data) else CPU
    return replace(
        chosen,
        kinds=chosen_kinds(request, KINDS) if request.kinds else chosen.kinds,
        seeds=request.seeds or chosen.seeds,
        width=request.width or chosen.width,
    )


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """The jobs of `dualview reproduce alignment`.

    Raises:
        SettingsError: a kind is none of this experiment's.
        DataError: the classes are not in the data, or too small.
    """
    return plan_preset(preset(request, data), request, data, out)


def plan_preset(settings: AlignmentPreset, request: Request, data: Dataset, out: Path) -> list[Job]:
    """One run for each seed and kind; for classes of one's own, from Python.

    Raises:
        DataError: the classes are not in the data, or too small.
    """
    from dualview.experiments.alignment.class_pair import class_pair, first_of_each

    pair = class_pair(data, settings.classes)
    first_of_each(pair.train, settings.points)
    of_data = data_config(pair)
    jobs = []
    for seed in range(settings.seeds):
        training = request.training(settings.training, seed, len(pair.train))
        for kind in settings.kinds:
            config = _config(settings, kind, training, of_data)
            jobs.append(_job(settings, kind, training, pair, config, out))
    return jobs


def _config(
    settings: AlignmentPreset, kind: str, training: TrainSettings, of_data: dict[str, Any]
) -> dict[str, Any]:
    return {
        "experiment": EXPERIMENT.name,
        **of_data,
        "arch": "fc",
        "width": settings.width,
        "kind": kind,
        "beta": settings.beta if kind != "dnn" else None,
        "points": settings.points,
        "every": settings.every,
        **training_config(training),
    }


def _job(
    settings: AlignmentPreset,
    kind: str,
    training: TrainSettings,
    pair: Dataset,
    config: dict[str, Any],
    out: Path,
) -> Job:
    from dualview.experiments.alignment.measure import build_network
    from dualview.experiments.networks import count_parameters

    seed, shape = training.seed, pair.input_shape
    build = partial(build_network, kind, seed, shape, width=settings.width, beta=settings.beta)

    def perform(folder: Path, watcher: Watcher) -> RunRecord:
        return _train(settings, build(), training, pair, config, folder, watcher)

    return Job(
        kind,
        seed,
        out / f"{kind}-seed{seed}",
        config,
        cost(kind),
        f"{kind_name(kind)}, seed {seed}",
        perform,
        count_parameters(build()),
    )


def _train(
    settings: AlignmentPreset,
    net: Any,
    training: TrainSettings,
    pair: Dataset,
    config: dict[str, Any],
    folder: Path,
    watcher: Watcher,
) -> RunRecord:
    """Train and measure; both go on from the folder's checkpoint."""
    from dualview.experiments.alignment.class_pair import first_of_each
    from dualview.experiments.alignment.measure import alignment_measure

    assert training.epochs is not None
    images, labels = first_of_each(pair.train, settings.points)
    measure = alignment_measure(images, labels, every=settings.every, epochs=training.epochs)
    result = train(net, pair, training, folder, watcher=watcher, measure=measure)
    taken = result.measurements
    measurements = {
        "points": len(labels),
        **{name: [entry[name] for entry in taken] for name in ("epoch", *NAMES)},
    }
    return record(EXPERIMENT.name, config, config["kind"], training.seed, result, measurements)


# ------------------------------------------------------------------------------------------ tables


def tables(records: Sequence[RunRecord]) -> list[Table]:
    """Complexity and alignment at some epochs, kind by kind, and what else was measured."""
    finished = [run for run in records if run.status == "finished"]
    kinds = [kind for kind in KINDS if any(run.kind == kind for run in finished)]
    return [_over_training(finished, kinds), _at_the_end(finished, kinds)]


def _over_training(records: Sequence[RunRecord], kinds: Sequence[str]) -> Table:
    epochs = shown(sorted({epoch for run in records for epoch in run.measurements["epoch"]}))
    rows = []
    for epoch in epochs:
        cells = [str(epoch)]
        for kind in kinds:
            cells.append(complexity_cell(_values(records, kind, "complexity", epoch)))
            cells.append(_mean_cell(_values(records, kind, "alignment", epoch), 3))
        rows.append(tuple(cells))
    columns = [text for kind in kinds for text in (f"{kind_name(kind)}: complexity", "Alignment")]
    points = next((run.measurements["points"] for run in records), 0)
    return Table(
        "alignment",
        "Kernel and labels over training",
        ("Epochs", *columns),
        tuple(rows),
        (
            f"Complexity: y' (H / tr H)^-1 y, H the NPK at hard gates of {points} training "
            f"examples, y their labels, -1 and +1; it is {points} at least. Alignment: "
            "y' H y / (|y|^2 |H|_F), 1 at most. Mean ± standard deviation over the runs.",
            f"Published ({NPK_PAPER}): the complexity falls as training goes on.",
        ),
    )


def _at_the_end(records: Sequence[RunRecord], kinds: Sequence[str]) -> Table:
    rows = []
    for kind in kinds:
        runs = [run for run in records if run.kind == kind]
        scores = [run.test_accuracy for run in runs if run.test_accuracy is not None]
        ratios = [_ratio(run) for run in runs]
        known = [ratio for ratio in ratios if ratio is not None]
        rows.append(
            (
                kind_name(kind),
                percent(fmean(scores), stdev(scores) if len(scores) > 1 else None),
                _mean_cell([run.curve[-1].train_loss for run in runs], 4),
                _mean_cell(known, 2) if len(known) == len(ratios) else "–",
                f"{sum(ratio < 1 for ratio in known)} of {len(runs)}",
                f"{min(min(run.measurements['rank']) for run in runs)}",
                f"{max(max(run.measurements['condition']) for run in runs):.1e}",
                str(len(runs)),
            )
        )
    return Table(
        "alignment-runs",
        "The runs",
        (
            "Network",
            "Test accuracy, %",
            "Train loss",
            "Complexity, last / first",
            "Runs where it fell",
            "Least rank of H",
            "Largest condition",
            "Runs",
        ),
        tuple(rows),
        (
            "Where H has no inverse on the labels, the complexity is infinite (∞). A condition "
            "of 1e12 or more counts as having none.",
        ),
    )


def _ratio(run: RunRecord) -> float | None:
    """The complexity after training over that before, where both are finite."""
    values = run.measurements["complexity"]
    first, last = values[0], values[-1]
    return None if first is None or last is None else last / first


def shown(epochs: Sequence[int], most: int = TABLE_ROWS) -> list[int]:
    """The first, the last, and those between at growing distances.

    >>> shown(range(0, 51, 2))
    [0, 2, 4, 6, 10, 18, 30, 50]
    """
    if len(epochs) <= most:
        return list(epochs)
    last = len(epochs) - 1
    places = {0, last} | {round(last ** (step / (most - 2))) for step in range(most - 1)}
    return [epochs[place] for place in sorted(places)]


def _values(records: Sequence[RunRecord], kind: str, name: str, epoch: int) -> list[float | None]:
    """Of each run of a kind that has one of that epoch."""
    return [
        run.measurements[name][run.measurements["epoch"].index(epoch)]
        for run in records
        if run.kind == kind and epoch in run.measurements["epoch"]
    ]


def complexity_cell(values: Sequence[float | None]) -> str:
    """Mean and standard deviation; ∞ if it is infinite in one of the runs.

    >>> complexity_cell([300.0, 310.0]), complexity_cell([300.0, None]), complexity_cell([])
    ('305 ± 7', '∞', '–')
    """
    known = [value for value in values if value is not None]
    return _mean_cell(known, 0) if len(known) == len(values) else "∞"


def _mean_cell(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    sd = f" ± {stdev(known):,.{digits}f}" if len(known) > 1 else ""
    return f"{fmean(known):,.{digits}f}{sd}"


EXPERIMENT = Experiment(
    name="alignment",
    title="Alignment of the neural path kernel with the labels",
    question="While a network learns to tell two digits apart, does the kernel of its gates come "
    "to suit the labels?",
    source=f"{NPK_PAPER}, the figure on the alignment of the NPK during training",
    duration="digits: 1 minute; MNIST: 6 minutes",
    default_data="digits",
    plan=plan,
    tables=tables,
    options=("width", "kinds"),
)
