"""The jobs of the experiment `regimes`, from what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dualview.datasets import Dataset
from dualview.experiments.experiment import Request, chosen_kinds, is_small, preset_of
from dualview.experiments.jobs import Job
from dualview.experiments.npk_paper import RegimeSetting, all_for_training, unnormalised
from dualview.experiments.published import NPK_ARCHITECTURES, NPK_OPTIMIZERS, REGIMES
from dualview.experiments.regimes.jobs import regime_jobs
from dualview.training import TrainSettings, choose

NAME = "regimes"


@dataclass(frozen=True)
class RegimePreset:
    """How one architecture is trained in one preset."""

    width: int
    seeds: int
    training: Mapping[str, TrainSettings]
    """By optimiser."""


_PAPER = TrainSettings(batch_size=32, schedule="constant", momentum=0.0)


def _paper(width: int, adam: tuple[float, int], sgd: tuple[float, int]) -> RegimePreset:
    """Rates and epochs as published; plain SGD has no momentum."""
    threads = 1 if width == FC_WIDTH else None
    settings = {
        name: replace(_PAPER, optimizer=name, learning_rate=rate, epochs=epochs, threads=threads)
        for name, (rate, epochs) in (("adam", adam), ("sgd", sgd))
    }
    return RegimePreset(width, 5, settings)


FC_WIDTH = 128

PAPER_PRESET: Mapping[str, RegimePreset] = {
    "fc": _paper(FC_WIDTH, (1e-4, 100), (1e-2, 300)),
    "vconv": _paper(64, (3e-4, 80), (1e-2, 80)),
    "gconv": _paper(64, (3e-4, 200), (1e-1, 100)),
}

_FC = replace(_PAPER, threads=1)


def _cpu(adam: TrainSettings, sgd: TrainSettings, conv: TrainSettings) -> dict[str, RegimePreset]:
    """Of the dense network by optimiser; narrow convolutional ones share all but that."""
    both = {
        "adam": replace(conv, optimizer="adam", learning_rate=2e-3),
        "sgd": replace(conv, optimizer="sgd", learning_rate=1e-1),
    }
    dense = {"adam": replace(adam, optimizer="adam"), "sgd": replace(sgd, optimizer="sgd")}
    narrow = {arch: RegimePreset(16, 2, both) for arch in ("vconv", "gconv")}
    return {"fc": RegimePreset(FC_WIDTH, 5, dense), **narrow}


SMALL_PRESET: Mapping[str, RegimePreset] = _cpu(
    replace(_FC, learning_rate=1e-3, epochs=60),
    replace(_FC, learning_rate=1e-1, epochs=120),
    replace(_PAPER, threads=1, epochs=20, schedule="one-cycle"),
)
"""The cpu preset on small data."""

LARGE_PRESET: Mapping[str, RegimePreset] = _cpu(
    replace(_FC, learning_rate=5e-4, epochs=15),
    replace(_FC, learning_rate=5e-2, epochs=15),
    replace(_PAPER, batch_size=64, epochs=3, schedule="one-cycle"),
)
"""The cpu preset on MNIST and CIFAR-10."""


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """Every regime with every seed, for the architectures and optimisers of the preset.

    Raises:
        SettingsError: an unknown architecture, optimiser or regime, or one that does not fit.
    """
    regimes = chosen_kinds(request, REGIMES)
    recipes = preset_of(request, data, PAPER_PRESET, SMALL_PRESET, LARGE_PRESET)
    paper = request.preset == "paper"
    seen = unnormalised(all_for_training(data) if paper else data)
    jobs: list[Job] = []
    for arch in _architectures(request, data):
        recipe = recipes[arch]
        for optimizer in _optimizers(request, arch, data):
            training = recipe.training[optimizer]
            setting = RegimeSetting(
                experiment=NAME,
                arch=arch,
                width=request.width or recipe.width,
                data=seen,
                validate=not paper,
                training=partial(request.training, training, n_train=len(seen.train)),
                seeds=request.seeds or recipe.seeds,
            )
            jobs += regime_jobs(setting, regimes, out)
    return jobs


def _architectures(request: Request, data: Dataset) -> tuple[str, ...]:
    """Fully connected for grey images, convolutional for coloured ones, as published."""
    if request.arch is not None:
        return (choose("arch", request.arch, NPK_ARCHITECTURES),)
    if data.input_shape[0] == 1:
        return ("fc",)
    return ("vconv", "gconv") if request.preset == "paper" else ("gconv",)


def _optimizers(request: Request, arch: str, data: Dataset) -> tuple[str, ...]:
    """Both, where both are quick enough."""
    if request.optimizer is not None:
        return (choose("optimizer", request.optimizer, NPK_OPTIMIZERS),)
    both = request.preset == "paper" or arch == "fc" or is_small(data)
    return ("adam", "sgd") if both else ("adam",)
