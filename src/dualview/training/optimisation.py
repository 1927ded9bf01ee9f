"""Optimisers, and learning-rate schedules that span the whole run.

A schedule is a pure function (step, total steps) -> factor of the highest learning rate, so that it
can be drawn, tested, and taken up again at any step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

from dualview.training.settings import TrainSettings

Schedule = Callable[[int, int], float]

WARM_UP = 0.3
"""Share of the one-cycle schedule in which the rate rises."""
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


def constant(step: int, total: int) -> float:
    """The highest rate all along."""
    return 1.0


def cosine(step: int, total: int) -> float:
    """From the highest rate along half a cosine; 0 would be reached one step after the last.

    >>> cosine(0, 10), cosine(5, 10)
    (1.0, 0.5)
    """
    return (1 + math.cos(math.pi * min(step / total, 1.0))) / 2


def one_cycle(step: int, total: int) -> float:
    """Up from 1/25 along a half cosine for 30 % of the steps, then down to 4e-6 in the last step.

    Source: Smith and Topin, arXiv 1708.07120, in PyTorch's form (`OneCycleLR`).
    """
    peak, last = max(WARM_UP * total - 1, 0.0), total - 1
    if step < peak:
        return _between(ONE_CYCLE_START, 1.0, step / peak)
    return _between(1.0, ONE_CYCLE_END, min((step - peak) / max(last - peak, 1.0), 1.0))


def steps(step: int, total: int) -> float:
    """The recipe of He et al. 2015 for CIFAR-10, stretched over the run.

    A tenth for the first 1/160 (there: 400 of 64,000), then 1; a tenth after half, a hundredth
    after three quarters.

    >>> [steps(step, 64_000) for step in (0, 400, 32_000, 48_000)]
    [0.1, 1.0, 0.1, 0.01]
    """
    done = step / total
    if done < 1 / 160:
        return 0.1
    return 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01


def _between(start: float, end: float, share: float) -> float:
    """From start (share 0) to end (share 1) along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


SCHEDULE_FUNCTIONS: dict[str, Schedule] = {
    "constant": constant,
    "cosine": cosine,
    "one-cycle": one_cycle,
    "steps": steps,
}
"""One function for each name in `settings.SCHEDULES`."""


def learning_rate(settings: TrainSettings, step: int, total: int) -> float:
    """The rate of one step of the run, counted from 0; the settings are resolved."""
    assert settings.learning_rate is not None
    return settings.learning_rate * SCHEDULE_FUNCTIONS[settings.schedule](step, total)


def optimiser(settings: TrainSettings, parameters: Iterable[torch.nn.Parameter]) -> Optimizer:
    """Adam, SGD or RMSprop with the settings' options; the settings are resolved.

    What the settings do not name (Adam's two decays, RMSprop's 0.99) is PyTorch's default.
    """
    assert settings.learning_rate is not None
    parameters = list(parameters)
    groups = _groups(settings, parameters)
    options: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, foreach=True, **options)
    # One kernel for all of a step: several times quicker than PyTorch's default on a CPU.
    options["fused"] = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, **options)
    options |= {"momentum": settings.momentum, "nesterov": settings.nesterov}
    return torch.optim.SGD(groups, **options)


def _groups(settings: TrainSettings, parameters: list[torch.nn.Parameter]) -> list[dict[str, Any]]:
    """All parameters together, or those that are not decayed apart."""
    if settings.decayed == "all":
        return [{"params": parameters}]
    weights = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": weights}] if weights else []
    return [*groups, {"params": others, "weight_decay": 0.0}] if others else groups


def scheduler(
    settings: TrainSettings, of: Optimizer, total: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Steps the optimiser's rate along the schedule, once after each training step."""
    schedule = SCHEDULE_FUNCTIONS[settings.schedule]
    return torch.optim.lr_scheduler.LambdaLR(of, lambda step: schedule(step, total))
