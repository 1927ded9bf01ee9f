"""The jobs of the experiment `width`: one network for each architecture, width and seed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from dualview.datasets import Dataset
from dualview.experiments.classifiers import Variant, setting_jobs
from dualview.experiments.experiment import Request, is_small
from dualview.experiments.jobs import Job
from dualview.experiments.networks import build_network, example_input
from dualview.experiments.npk_paper import frozen_gates
from dualview.experiments.recipes import asked_or_usual, setting
from dualview.experiments.settings import ComparisonSettings
from dualview.experiments.width.concentration import concentration
from dualview.training.feeding import transform_of

NAME = "width"
NARROWEST = {"fc": 16, "c4gap": 4}
EPOCHS = {"fc": 20, "c4gap": 10}
"""Where none are asked for, on small data."""
TIMES = (1, 2, 4, 8)
"""Widths, in those of the narrowest network."""
COST = 1.35
"""Of a step, in steps of the DNN: frozen gates need no backward pass."""


def plan(request: Request, data: Dataset, out: Path) -> list[Job]:
    """FC and C4GAP on small data, C4GAP alone on large; the width asked for is the narrowest."""
    return [
        job
        for arch in asked_or_usual(request, is_small(data))
        for times in TIMES
        for job in _jobs(request, arch, times, data, out)
    ]


def _jobs(request: Request, arch: str, times: int, data: Dataset, out: Path) -> list[Job]:
    epochs = EPOCHS.get(arch) if is_small(data) and request.preset == "cpu" else None
    one = setting(NAME, arch, request, data, epochs=epochs)
    width = times * (request.width or NARROWEST.get(arch, 4))
    settings = replace(one.comparison, width=width, batch_norm=False)
    variant = Variant(
        f"width{width}-dgn",
        "dgn",
        f"{arch}, width {width}",
        partial(_frozen, settings, one.data),
        COST,
        measure=partial(concentration, data=one.data),
    )
    sized = replace(one, comparison=settings, scale=one.scale * times)
    return setting_jobs(sized, [variant], out)


def _frozen(settings: ComparisonSettings, data: Dataset, seed: int) -> nn.Module:
    """The architecture's own gates at random, hard and fixed; fresh weights."""
    model = build_network(settings, "dnn", seed, data)
    return frozen_gates(model, seed, example_input(data), transform_of(data))
