"""Learns targets of several frequencies at once: one network for each, all in one vectorised pass.

Parameters are stacked over the frequencies on a new first axis (f, ...), so that one step trains
all networks; they start equal and never meet. The loss is the mean squared error, the optimiser
Adam with a rate that falls to 0 along half a cosine; one rate serves every kind of network.

A fit survives `kill -9`: state and curve are saved together at each measurement, and the order of
the examples depends on (seed, epoch) alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from dualview.experiments.spectrum.targets import (
    network_input,
    target,
    train_points,
    unseen_points,
)
from dualview.training import CHECKPOINT, Watcher
from dualview.training.checkpoints import read_checkpoint, write_checkpoints
from dualview.training.identity import network_identity
from dualview.training.interruption import terminable
from dualview.training.optimisation import cosine
from dualview.training.threads import use_threads

MEASURED_TIMES = 40
"""At most so many a fit, at distances that grow with the epochs."""

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Fit:
    """What is learnt, and how."""

    dimension: int
    """Numbers that the functions take."""
    frequencies: tuple[int, ...]
    side: int
    """Train points along each axis; as many lie between them to test on."""
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    threads: int | None = None
    """CPU threads; None: as they are."""
    device: str = "cpu"


@dataclass
class Course:
    """How far a fit has come."""

    epochs: list[int]
    """When it was measured, in epochs done."""
    train_mse: list[list[float]]
    """At those times, for each frequency."""
    test_mse: list[list[float]]
    seconds: float


def fit(net: nn.Module, task: Fit, folder: Path, watcher: Watcher) -> tuple[Weights, Course]:
    """Learn all frequencies from the parameters of `net`; go on from the folder's checkpoint.

    Args:
        net: (n, dimension) -> (n, 1). It is left as it was.
        task: what to learn.
        folder: where the checkpoint lies.
        watcher: told of the start and of every step.

    Returns:
        The trained parameters, each (f, ...) on the CPU, and the course. A network whose error is
        no longer finite has errors that are not.

    Raises:
        RunError: the folder's checkpoint is damaged, or of another fit.
        Terminated: the process was asked to end; what was measured is safe.
    """
    job = {"trainer": "fit", "network": network_identity(net), **asdict(task)}
    with use_threads(task.threads), terminable():
        copies = len(task.frequencies)
        parameters = {
            name: p.detach().to(task.device).expand(copies, *p.shape).clone().requires_grad_()
            for name, p in net.named_parameters()
        }
        optimiser = torch.optim.Adam(list(parameters.values()), task.learning_rate, fused=True)
        course = _resumed(folder / CHECKPOINT, job, parameters, optimiser)
        _train(
            net.to(task.device),
            parameters,
            optimiser,
            task,
            course,
            partial(_save, folder / CHECKPOINT, job),
            watcher,
        )
    return {name: p.detach().cpu() for name, p in parameters.items()}, course


def _train(
    net: nn.Module,
    parameters: Weights,
    optimiser: torch.optim.Optimizer,
    task: Fit,
    course: Course,
    save: Callable[[Weights, torch.optim.Optimizer, Course], None],
    watcher: Watcher,
) -> None:
    train, test = (_examples(points, task) for points in (train_points, unseen_points))
    steps = -(-len(train[0]) // task.batch_size)
    times = set(measured_epochs(task.epochs))
    start = course.epochs[-1] if course.epochs else 0
    watcher.started(start, task.epochs, steps)
    before = course.seconds - time.perf_counter()
    if not course.epochs:
        _measure(net, parameters, 0, train, test, course)
    for epoch in range(start, task.epochs):
        order = _order(task.seed, epoch, len(train[0])).to(task.device)
        for step, rows in enumerate(order.split(task.batch_size)):
            share = cosine(epoch * steps + step, task.epochs * steps)
            for group in optimiser.param_groups:
                group["lr"] = task.learning_rate * share
            optimiser.zero_grad()
            errors(net, parameters, train[0][rows], train[1][:, rows]).sum().backward()
            optimiser.step()
            watcher.stepped()
        if epoch + 1 in times:
            _measure(net, parameters, epoch + 1, train, test, course)
            course.seconds = before + time.perf_counter()
            save(parameters, optimiser, course)


def errors(net: nn.Module, parameters: Weights, x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of each network on its own target: (f,) from x (n, d) and y (f, n)."""

    def outputs(own: Weights) -> Tensor:
        out: Tensor = functional_call(net, own, (x,))
        return out[:, 0]

    return (vmap(outputs)(parameters) - y).square().mean(1)


def measured_epochs(epochs: int, most: int = MEASURED_TIMES) -> list[int]:
    """When a fit is measured after its start: at distances that grow, and at its end.

    >>> measured_epochs(100, 6)
    [1, 3, 6, 16, 40, 100]
    """
    return sorted({round(epochs ** (step / (most - 1))) for step in range(most)} | {epochs})


def _examples(points: Any, task: Fit) -> tuple[Tensor, Tensor]:
    """What networks read, (n, d), and the targets, (f, n); float32 on the device."""
    x = points(task.dimension, task.side)
    y = target(x, task.frequencies)
    return network_input(x).float().to(task.device), y.float().to(task.device)


def _order(seed: int, epoch: int, n: int) -> Tensor:
    """The examples' order in an epoch, from (seed, epoch) alone."""
    return torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(n))


def _measure(
    net: nn.Module,
    parameters: Weights,
    epoch: int,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    course: Course,
) -> None:
    with torch.no_grad():
        course.train_mse.append(errors(net, parameters, *train).tolist())
        course.test_mse.append(errors(net, parameters, *test).tolist())
    course.epochs.append(epoch)


# ------------------------------------------------------------------------------------- checkpoints


def _save(
    path: Path,
    job: Mapping[str, Any],
    parameters: Weights,
    optimiser: torch.optim.Optimizer,
    course: Course,
) -> None:
    state = {
        "parameters": {name: p.detach() for name, p in parameters.items()},
        "optimiser": optimiser.state_dict(),
        "course": vars(course),
    }
    write_checkpoints([(path, job, state)])


def _resumed(
    path: Path, job: Mapping[str, Any], parameters: Weights, optimiser: torch.optim.Optimizer
) -> Course:
    """Put the checkpoint's state in place; the empty course where there is none."""
    state = read_checkpoint(path, job)
    if state is None:
        return Course([], [], [], 0.0)
    with torch.no_grad():
        for name, p in parameters.items():
            p.copy_(state["parameters"][name])
    optimiser.load_state_dict(state["optimiser"])
    return Course(**state["course"])
