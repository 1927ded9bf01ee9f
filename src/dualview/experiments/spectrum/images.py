"""The spectrum experiment on images: jobs that learn to classify parts of their frequencies.

Measurements of a record: "band" and "radius" of the filter; "disc_energy", the share of the images'
variance in the disc; and of a DLGN the "spectra" of its composed filters: for each gated layer the
power at the radii 0, 1, ... (cycles an image), before training ("spectra_initial") and after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Dataset
from dualview.experiments.experiment import Request, data_config
from dualview.experiments.jobs import Job, cost, record, training_config
from dualview.experiments.networks import count_parameters
from dualview.experiments.records import RunRecord
from dualview.experiments.spectrum.bands import (
    band_description,
    disc_radius,
    energy_share,
    in_band,
)
from dualview.experiments.spectrum.filters import filter_spectra
from dualview.experiments.spectrum.networks import circular_c4gap
from dualview.experiments.spectrum.scores import BAND_NAMES
from dualview.experiments.summary import kind_name
from dualview.training import TrainSettings, Watcher, train

ARCHITECTURE = "c4gap-circular"


@dataclass(frozen=True)
class ImagePreset:
    """Size and settings; the same for every band and kind."""

    width: int
    training: TrainSettings
    seeds: int = 3
    beta: float = 4.0


SMALL_PRESET = ImagePreset(
    16, TrainSettings(epochs=20, batch_size=64, learning_rate=4e-3, threads=1), seeds=3
)
LARGE_PRESET = ImagePreset(16, TrainSettings(epochs=6, batch_size=128, learning_rate=4e-3), seeds=1)
PAPER_PRESET = ImagePreset(
    128,
    TrainSettings(epochs=32, batch_size=128, learning_rate=3e-4, schedule="constant"),
    seeds=5,
)
"""C4GAP as arXiv 2110.03403 trains it (there with zero padding and without batch norm)."""


def image_jobs(
    preset: ImagePreset,
    kinds: Sequence[str],
    seed: int,
    request: Request,
    data: Dataset,
    out: Path,
) -> list[Job]:
    """The jobs of one seed: every kind of network on each band."""
    width, radius = request.width or preset.width, disc_radius(data)
    training = request.training(preset.training, seed, len(data.train))
    of_data = data_config(data)
    jobs = []
    for band in BAND_NAMES:
        for kind in kinds:
            config = {
                "experiment": "spectrum",
                "part": "images",
                **of_data,
                "data": band_description(data, band, radius),
                "band": band,
                "radius": radius,
                "arch": ARCHITECTURE,
                "width": width,
                "kind": kind,
                "beta": preset.beta if kind != "dnn" else None,
                **training_config(training),
            }
            build = partial(
                circular_c4gap,
                kind,
                seed,
                num_classes=data.n_classes,
                input_shape=data.input_shape,
                width=width,
                beta=preset.beta,
            )
            jobs.append(_job(build, data, training, config, out))
    return jobs


def _job(
    build: Callable[[], nn.Module],
    data: Dataset,
    training: TrainSettings,
    config: dict[str, Any],
    out: Path,
) -> Job:
    kind, seed, band = config["kind"], training.seed, config["band"]
    assert training.epochs is not None
    positions = data.input_shape[1] * data.input_shape[2]
    multiplications = positions * 9 * 3 * config["width"] ** 2
    return Job(
        kind,
        seed,
        out / f"images-{band}-{kind}-seed{seed}",
        config,
        cost(kind) * training.epochs * len(data.train) * multiplications,
        f"{BAND_NAMES[band]}, {kind_name(kind)}, seed {seed}",
        partial(_train, build, data, training, config),
        count_parameters(build()),
    )


def _train(
    build: Callable[[], nn.Module],
    data: Dataset,
    training: TrainSettings,
    config: dict[str, Any],
    folder: Path,
    watcher: Watcher,
) -> RunRecord:
    """Filter, train and measure. Filtered images are made here, since they are large."""
    band, radius, net = config["band"], config["radius"], build()
    initial = _spectra(net, data)
    filtered = in_band(data, band, radius)
    result = train(net, filtered, training, folder, watcher=watcher)
    measurements: dict[str, Any] = {
        "band": band,
        "radius": radius,
        "disc_energy": energy_share(data, radius),
    }
    if initial is not None and result.status == "finished":
        measurements |= {"spectra_initial": initial, "spectra": _spectra(net, data)}
    return record(config, config["kind"], training.seed, result, measurements)


def _spectra(net: nn.Module, data: Dataset) -> list[list[float]] | None:
    """Of the composed filters, where the gating network is linear."""
    linear = isinstance(net, GatedNetwork) and net.kind == "dlgn"
    return filter_spectra(net, data.input_shape) if linear else None  # type: ignore[arg-type]
