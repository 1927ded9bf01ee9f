"""The jobs of the experiment `alignment`, from what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from dualview.datasets import Dataset
from dualview.experiments.alignment.class_pair import class_pair, first_of_each
from dualview.experiments.alignment.measure import alignment_measure, build_network
from dualview.experiments.alignment.tables import COMPARED_KINDS, MEASURE_NAMES
from dualview.experiments.experiment import Request, chosen_kinds, data_config, preset_of
from dualview.experiments.jobs import Job, cost, record, training_config
from dualview.experiments.networks import count_parameters
from dualview.experiments.records import RunRecord
from dualview.experiments.seeds import Seeds, seed_numbers
from dualview.experiments.summary import kind_name
from dualview.training import TrainSettings, Watcher, train

NAME = "alignment"


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
    seeds: Seeds = 5
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


PAPER_PRESET = AlignmentPreset()
"""As published."""
CPU_PRESET = replace(
    PAPER_PRESET, kinds=("dnn", "dlgn"), training=replace(PAPER_PRESET.training, threads=1)
)
"""As published, which two cores can do, and the DLGN beside it."""
SMALL_PRESET = replace(
    CPU_PRESET, kinds=COMPARED_KINDS, training=replace(CPU_PRESET.training, batch_size=8)
)
"""For the digits: in smaller batches, since 250 examples make few steps."""


def preset(request: Request, data: Dataset) -> AlignmentPreset:
    """The preset's settings with what was asked for in their place."""
    chosen = preset_of(request, data, PAPER_PRESET, SMALL_PRESET, CPU_PRESET)
    return replace(
        chosen,
        kinds=chosen_kinds(request, COMPARED_KINDS) if request.kinds else chosen.kinds,
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
    pair = class_pair(data, settings.classes)
    first_of_each(pair.train, settings.points)
    of_data = data_config(pair)
    jobs = []
    for seed in seed_numbers(settings.seeds):
        training = request.training(settings.training, seed, len(pair.train))
        for kind in settings.kinds:
            config = _config(settings, kind, training, of_data)
            jobs.append(_job(settings, kind, training, pair, config, out))
    return jobs


def _config(
    settings: AlignmentPreset, kind: str, training: TrainSettings, of_data: dict[str, Any]
) -> dict[str, Any]:
    return {
        "experiment": NAME,
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
    seed, shape = training.seed, pair.input_shape
    build = partial(build_network, kind, seed, shape, width=settings.width, beta=settings.beta)
    return Job(
        kind,
        seed,
        out / f"{kind}-seed{seed}",
        config,
        cost(kind),
        f"{kind_name(kind)}, seed {seed}",
        partial(_train, settings, build, training, pair, config),
        count_parameters(build()),
    )


def _train(
    settings: AlignmentPreset,
    build: Callable[[], nn.Module],
    training: TrainSettings,
    pair: Dataset,
    config: dict[str, Any],
    folder: Path,
    watcher: Watcher,
) -> RunRecord:
    """Train and measure; both go on from the folder's checkpoint."""
    assert training.epochs is not None
    images, labels = first_of_each(pair.train, settings.points)
    measure = alignment_measure(images, labels, every=settings.every, epochs=training.epochs)
    result = train(build(), pair, training, folder, watcher=watcher, measure=measure)
    taken = result.measurements
    measurements = {
        "points": len(labels),
        **{name: [entry[name] for entry in taken] for name in ("epoch", *MEASURE_NAMES)},
    }
    return record(config, config["kind"], training.seed, result, measurements)
