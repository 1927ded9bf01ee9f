"""The jobs of the experiment `gate-learning`, from what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dualview.datasets import Dataset
from dualview.experiments.experiment import Request, preset_of
from dualview.experiments.gate_learning.jobs import Kernel, Stages, stage_jobs
from dualview.experiments.jobs import Job
from dualview.experiments.npk_paper import RegimeSetting, all_for_training, unnormalised
from dualview.experiments.published import NPK_ARCHITECTURES
from dualview.training import TrainSettings, choose

NAME = "gate-learning"

SHARE = 8
"""Epochs of a weights network for each epoch of a stage: 80 and 10 in the paper."""


@dataclass(frozen=True)
class GatePreset:
    """How it is done in one preset."""

    width: Mapping[str, int]
    """Of each architecture."""
    seeds: int
    stages: int
    weights: TrainSettings
    """Of the weights networks."""
    gates: TrainSettings
    """Of a stage of the ReLU network; its rate stays the same, so that stages can follow."""
    kernel: Kernel


_PAPER = TrainSettings(
    epochs=80, batch_size=32, optimizer="adam", learning_rate=3e-4, schedule="constant"
)
PAPER_PRESET = GatePreset(
    width={"fc": 128, "vconv": 64, "gconv": 64},
    seeds=5,
    stages=6,
    weights=_PAPER,
    gates=_PAPER,
    kernel=Kernel(n_train=1000, n_test=1000),
)
_SMALL = replace(_PAPER, epochs=16, learning_rate=3e-3, threads=1)
SMALL_PRESET = GatePreset(
    width={"fc": 64, "vconv": 16, "gconv": 16},
    seeds=3,
    stages=6,
    weights=replace(_SMALL, learning_rate=4e-3, schedule="one-cycle"),
    gates=_SMALL,
    kernel=Kernel(n_train=1000, n_test=359),
)
"""The cpu preset on small data."""
_LARGE = replace(_PAPER, epochs=4, batch_size=64, learning_rate=1e-3)
LARGE_PRESET = GatePreset(
    width={"fc": 128, "vconv": 16, "gconv": 16},
    seeds=1,
    stages=6,
    weights=replace(_LARGE, learning_rate=2e-3, schedule="one-cycle"),
    gates=_LARGE,
    kernel=Kernel(n_train=600, n_test=400),
)
"""The cpu preset on MNIST and CIFAR-10."""


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """Seed by seed and stage by stage: the gates' training, then the learners on its gates.

    `request.epochs` are those of a weights network; a stage takes an eighth of them, 1 at least.

    Raises:
        SettingsError: an unknown architecture, or one that does not fit the data.
        MissingExtraError: the kernel machine's libraries are not installed.
    """
    import dualview.path_kernel.machines  # noqa: F401  (missing libraries are told of at once)

    arch = choose("arch", request.arch or "gconv", NPK_ARCHITECTURES)
    paper = request.preset == "paper"
    recipe = preset_of(request, data, PAPER_PRESET, SMALL_PRESET, LARGE_PRESET)
    seen = unnormalised(all_for_training(data) if paper else data)
    n_train = len(seen.train)

    def weights(seed: int) -> TrainSettings:
        return request.training(recipe.weights, seed, n_train)

    def gates(seed: int) -> TrainSettings:
        epochs = weights(seed).epochs
        assert epochs is not None
        return replace(
            request.training(recipe.gates, seed, n_train), epochs=max(1, round(epochs / SHARE))
        )

    setting = RegimeSetting(
        experiment=NAME,
        arch=arch,
        width=request.width or recipe.width[arch],
        data=seen,
        validate=not paper,
        training=weights,
        seeds=request.seeds or recipe.seeds,
    )
    return stage_jobs(setting, Stages(recipe.stages, gates), recipe.kernel, out)
