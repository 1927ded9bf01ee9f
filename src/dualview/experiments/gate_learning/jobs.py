"""The jobs of `gate-learning`: for each seed and stage the gates' training, then the learners.

Kinds: "gates" is the ReLU network, of which stage 0 is the initialisation and has no job; "weights"
is the fresh weights network on a stage's frozen gates, with the kernel machine's accuracy and how
far the gates have moved from the initial ones among its measurements.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Dataset, Split
from dualview.experiments.gate_learning.tables import GATES, WEIGHTS
from dualview.experiments.jobs import Job, needing, training_config, training_job
from dualview.experiments.networks import example_input
from dualview.experiments.npk_paper import RegimeSetting, drawn, frozen_gates, load_trained
from dualview.experiments.records import RunRecord
from dualview.experiments.run_folders import STAGE_END
from dualview.experiments.seeds import seed_numbers
from dualview.files.writing import write_atomically
from dualview.training import CHECKPOINT, MODEL, TrainSettings, Watcher

FROZEN_COST = 1.35
"""Of a step of a weights network, in steps of the ReLU network."""


@dataclass(frozen=True)
class Stages:
    """How the ReLU network is trained."""

    count: int
    training: Callable[[int], TrainSettings]
    """Of one stage, for a seed; resolved, with a constant learning rate."""


@dataclass(frozen=True)
class Kernel:
    """The subset on which kernel regression learns and is tested; at most all there is."""

    n_train: int
    n_test: int


@dataclass(frozen=True)
class _Plan:
    """All that a job of any stage needs."""

    setting: RegimeSetting
    stages: Stages
    kernel: Kernel
    out: Path
    shared: dict[str, Any]
    """Of all configs."""
    parameters: int

    def folder(self, kind: str, stage: int, seed: int) -> Path:
        return self.out / f"{self.setting.arch}-{kind}-stage{stage}-seed{seed}"

    def config(self, kind: str, stage: int, training: TrainSettings) -> dict[str, Any]:
        """What both kinds of job depend on."""
        return {
            **self.shared,
            "kind": kind,
            "stage": stage,
            **training_config(training),
        }


def stage_jobs(setting: RegimeSetting, stages: Stages, kernel: Kernel, out: Path) -> list[Job]:
    """All jobs, seed by seed and stage by stage.

    Raises:
        SettingsError: the network cannot be built so.
    """
    size = sum(parameter.numel() for parameter in setting.draw().parameters())
    plan = _Plan(setting, stages, kernel, out, setting.config(), size)
    jobs = []
    for seed in seed_numbers(setting.seeds):
        for stage in range(stages.count + 1):
            if stage:
                jobs.append(_gates_job(plan, stage, seed))
            jobs.append(_weights_job(plan, stage, seed))
    return jobs


# ------------------------------------------------------------------------------ the gates' training


def _gates_job(plan: _Plan, stage: int, seed: int) -> Job:
    """One stage of the ReLU network's training; its curve is that of all stages so far."""
    one = plan.stages.training(seed)
    assert one.epochs is not None
    assert one.schedule == "constant", "the stages must fit together"
    training = replace(one, epochs=stage * one.epochs)
    folder = plan.folder(GATES, stage, seed)
    job = training_job(
        GATES,
        seed,
        folder,
        plan.config(GATES, stage, training),
        title=f"stage {stage}, gates, seed {seed}",
        cost=one.epochs,
        parameters=plan.parameters,
        build=partial(drawn, plan.setting.draw, seed),
        data=plan.setting.data,
        training=training,
        validate=plan.setting.validate,
    )
    before = plan.folder(GATES, stage - 1, seed) / STAGE_END if stage > 1 else None

    def perform(where: Path, watcher: Watcher) -> RunRecord:
        if before is not None and not (where / CHECKPOINT).exists():
            _copy(before, where / CHECKPOINT)
        done = job.perform(where, watcher)
        if done.status == "finished":
            _copy(where / CHECKPOINT, where / STAGE_END)
        return replace(done, measurements={"stage": stage})

    going_on = replace(job, perform=perform)
    return needing(going_on, before, "{} left no network to go on from")


def _copy(source: Path, target: Path) -> None:
    def write(part: Path) -> None:
        shutil.copyfile(source, part)

    write_atomically(target, write)


# ------------------------------------------------------------------------------------ the learners


def _weights_job(plan: _Plan, stage: int, seed: int) -> Job:
    """A fresh weights network on the stage's gates, and the kernel machine."""
    training = plan.setting.training(seed)
    gates = plan.stages.training(seed)
    trained = plan.folder(GATES, stage, seed) / MODEL if stage else None
    config = {
        **plan.config(WEIGHTS, stage, training),
        "gates_epochs": stage * (gates.epochs or 0),
        "gates_learning_rate": gates.learning_rate,
        "gates_batch_size": gates.batch_size,
        "kernel_n_train": plan.kernel.n_train,
        "kernel_n_test": plan.kernel.n_test,
    }
    job = training_job(
        WEIGHTS,
        seed,
        plan.folder(WEIGHTS, stage, seed),
        config,
        title=f"stage {stage}, weights, seed {seed}",
        cost=FROZEN_COST * (training.epochs or 1),
        parameters=plan.parameters,
        build=partial(weights_network, plan.setting, seed, trained),
        data=plan.setting.data,
        training=training,
        measure=partial(_measure, plan, stage, seed),
        validate=plan.setting.validate,
    )
    return needing(job, trained, "{} left no gates to copy")


def weights_network(setting: RegimeSetting, seed: int, trained: Path | None) -> GatedNetwork:
    """Frozen gates of a stage's network (None: its initialisation), with fresh weights.

    The weights' draw is the same at every stage.
    """
    model = drawn(setting.draw, seed)
    if trained is not None:
        load_trained(model, trained)
    return frozen_gates(model, seed, example_input(setting.data))


def _measure(plan: _Plan, stage: int, seed: int, net: nn.Module) -> dict[str, Any]:
    assert isinstance(net, GatedNetwork)
    data = plan.setting.data
    return {
        "stage": stage,
        **kernel_accuracy(net, data, plan.kernel, seed),
        "initial_overlap": gates_kept(net, plan.setting, plan.kernel.n_test, seed),
    }


def gates_kept(net: GatedNetwork, setting: RegimeSetting, count: int, seed: int) -> list[float]:
    """Overlap of a stage's gates with the initial ones, a number from 0 to 1 for each gated layer.

    Args:
        net: a network with the stage's gates.
        setting: of the experiment.
        count: test examples it is taken on; those of the kernel machine.
        seed: that the ReLU network was drawn with; picks the examples.
    """
    from dualview.primal.overlaps import initial_overlap

    x = torch.from_numpy(_sample(setting.data.test, count, seed)[0])
    like = next(net.gating_network.parameters())
    initial = weights_network(setting, seed, None).to(like)
    return list(initial_overlap(net, initial, x.to(like)))


def kernel_accuracy(
    net: GatedNetwork, data: Dataset, kernel: Kernel, seed: int
) -> dict[str, float | int]:
    """Accuracy of ridge regression on the NPK of the network's gates.

    Args:
        net: whose gates and architecture make the kernel; its weights play no part.
        data: not normalised.
        kernel: how many examples.
        seed: picks which.

    Returns:
        kernel_accuracy on the test examples, kernel_n_train, kernel_n_test, kernel_ridge.
    """
    from dualview.path_kernel.machines import NPKClassifier

    train, labels = _sample(data.train, kernel.n_train, seed)
    test, truth = _sample(data.test, kernel.n_test, seed)
    machine = NPKClassifier(net).fit(train, labels)
    return {
        "kernel_accuracy": float((machine.predict(test) == truth).mean()),
        "kernel_n_train": len(labels),
        "kernel_n_test": len(truth),
        "kernel_ridge": float(machine.ridge_),
    }


def _sample(split: Split, count: int, seed: int) -> tuple[Any, Any]:
    """Some examples of a split, images as networks see them: numpy, (n, c, h, w) and (n,)."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    images, labels = split.images[order[:count]], split.labels[order[:count]]
    scale = 255.0 if images.dtype == torch.uint8 else 1.0
    return (images.float() / scale).numpy(), labels.numpy()
