"""The jobs of the regimes: one for each regime and seed of an architecture and an optimiser.

The seeds of a fully connected network are trained in one pass (`training.stacked`): the first of
their jobs trains all, the others hand out what is theirs by then. Folders and records are those of
single runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from dualview.experiments import run_folders
from dualview.experiments.jobs import Job, needing, record, training_config, training_job
from dualview.experiments.networks import count_parameters, example_input
from dualview.experiments.npk_paper import RegimeSetting
from dualview.experiments.records import RunRecord
from dualview.experiments.regimes.networks import BETA, EPS, regime_network
from dualview.experiments.regimes.tables import REGIME_NAMES
from dualview.experiments.seeds import seed_numbers
from dualview.experiments.selection import is_done
from dualview.training import MODEL, TrainingResult, Watcher, is_main_process
from dualview.training.stacked.run import train_stacked

STACKED = ("fc",)
"""Architectures whose seeds are trained in one pass."""

COSTS = {"relu": 1.0, "dlnpf": 2.0}
FROZEN_COST = 1.35
"""Of a step, in steps of the ReLU network: frozen gates need no backward pass."""


def regime_jobs(setting: RegimeSetting, regimes: Sequence[str], out: Path) -> list[Job]:
    """Every regime with every seed.

    ReLU networks come before those that copy their gates (FLNPF), whatever order is asked for; if
    FLNPF is asked for without them, they are trained all the same.

    Raises:
        SettingsError, ConversionError: a network cannot be built so.
    """
    wanted = {*regimes, "relu"} if "flnpf" in regimes else set(regimes)
    regimes = sorted((r for r in REGIME_NAMES if r in wanted), key=lambda r: r != "relu")
    shared = setting.config()
    jobs: list[Job] = []
    for regime in regimes:
        size = _parameters(setting, regime)
        seeds = seed_numbers(setting.seeds)
        own = [_job(setting, regime, seed, out, shared, size) for seed in seeds]
        jobs += _stacked(setting, regime, own, out) if setting.arch in STACKED else own
    # Stacks regime by regime; what is trained run by run, seed by seed.
    return jobs if setting.arch in STACKED else sorted(jobs, key=lambda job: job.seed)


def _job(
    setting: RegimeSetting,
    regime: str,
    seed: int,
    out: Path,
    shared: dict[str, Any],
    parameters: int,
) -> Job:
    """A run that is trained by itself."""
    training = setting.training(seed)
    folder = setting.folder(out, regime, seed)
    trained = _gates_of(setting, regime, seed, out)
    gates = {"relu": "own", "dlnpf": f"{1 + EPS:g} sigmoid({BETA:g} q)"}
    config = {
        **shared,
        "kind": regime,
        "gates": gates.get(regime, "hard, frozen"),
        **training_config(training),
    }
    job = training_job(
        regime,
        seed,
        folder,
        config,
        title=f"{setting.title}, {REGIME_NAMES[regime]}, seed {seed}",
        cost=COSTS.get(regime, FROZEN_COST) * (training.epochs or 1),
        parameters=parameters,
        build=partial(network_of, setting, regime, seed, trained),
        data=setting.data,
        training=training,
        validate=setting.validate,
    )
    return needing(job, trained, _NO_GATES)


_NO_GATES = "there are no gates to copy: {} left no trained network"


def _gates_of(setting: RegimeSetting, regime: str, seed: int, out: Path) -> Path | None:
    """The model of the ReLU network whose gates a run needs, if it needs any."""
    return setting.folder(out, "relu", seed) / MODEL if regime == "flnpf" else None


def network_of(
    setting: RegimeSetting, regime: str, seed: int, trained: Path | None = None
) -> nn.Module:
    """The untrained network of a regime; for "flnpf" with the ReLU run's model."""
    return regime_network(
        regime, setting.draw, seed, example_input=example_input(setting.data), trained=trained
    )


def _parameters(setting: RegimeSetting, regime: str) -> int:
    """Numbers that are trained; FLNPF trains as many as the other regimes with frozen gates."""
    return count_parameters(network_of(setting, "frnpf-ii" if regime == "flnpf" else regime, 0))


# ------------------------------------------------------------------------- seeds in one pass


def _stacked(setting: RegimeSetting, regime: str, jobs: Sequence[Job], out: Path) -> list[Job]:
    """The same jobs, trained together by the first that is not done."""
    unfinished = [job for job in jobs if not is_done(job)]
    stack = _Stack(setting, regime, jobs, out)
    together = []
    for job in jobs:
        works = job in unfinished[:1]  # for all, which is what the time left depends on
        cost = sum(other.cost for other in unfinished) if works else 0.0
        others = len(unfinished) - 1 if works else 0
        watched_as = f"{job.title} (and {others} more: mean)" if others > 0 else ""
        shared = replace(job, watched_as=watched_as, together=f"{setting.title}, {regime}")
        stacked = replace(shared, cost=cost, perform=partial(stack.perform, job))
        together.append(needing(stacked, stack.trained(job), _NO_GATES))
    return together


@dataclass
class _Stack:
    """The seeds of one regime, which are trained when the first of them is asked for."""

    setting: RegimeSetting
    regime: str
    jobs: Sequence[Job]
    out: Path
    results: dict[Path, TrainingResult] = field(default_factory=dict)
    size: int = 0

    def perform(self, job: Job, where: Path, watcher: Watcher) -> RunRecord:
        """The job's record; trains all unfinished jobs if that was not done yet."""
        if where not in self.results:
            self._train(where, watcher)
        result = self.results[where]
        measurements = {"seeds_in_one_pass": self.size}
        return record(job.config, job.kind, job.seed, result, measurements)

    def _train(self, where: Path, watcher: Watcher) -> None:
        """Train them all, each in a folder beside `where`."""
        jobs = [job for job in self.jobs if self._is_due(job)]
        folders = [where.with_name(job.name) for job in jobs]
        for job, folder in zip(jobs, folders, strict=True):
            if is_main_process():
                run_folders.open_folder(folder, job.config)
        results = train_stacked(
            [network_of(self.setting, self.regime, job.seed, self.trained(job)) for job in jobs],
            self.setting.data,
            [self.setting.training(job.seed) for job in jobs],
            folders,
            validate=self.setting.validate,
            watcher=watcher,
        )
        self.size = len(jobs)
        self.results |= dict(zip(folders, results, strict=True))

    def _is_due(self, job: Job) -> bool:
        trained = self.trained(job)
        ready = trained is None or trained.exists()
        return ready and not is_done(job)

    def trained(self, job: Job) -> Path | None:
        """The model of the ReLU network whose gates the job needs, if it needs any."""
        return _gates_of(self.setting, self.regime, job.seed, self.out)
