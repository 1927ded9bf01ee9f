"""The jobs of the experiment `real-tables`: one for each table and seed."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dualview.experiments.experiment import Request
from dualview.experiments.jobs import Job, measured_record
from dualview.experiments.real_tables import keel
from dualview.experiments.records import RunRecord
from dualview.experiments.seeds import seed_numbers
from dualview.tabular.comparing.comparison import compare_table
from dualview.tabular.comparing.findings import TableComparison
from dualview.tabular.comparing.settings import OTHERS, TableSettings
from dualview.training import TrainSettings, Watcher, cpu_threads
from dualview.training.threads import use_threads

FOLDS = {"cpu": 3, "paper": 10}
SEEDS = {"cpu": 1, "paper": 5}
"""Of splits and networks, by preset."""
COMPARED: tuple[str, ...] = tuple(OTHERS)


def plan(request: Request, data: Any, out: Path) -> list[Job]:
    """Every table, seed by seed; data is not looked at, and epochs are the estimators' own."""
    threads = cpu_threads(request.applied(TrainSettings(threads=1))) or 1
    tables = keel.keel_tables()
    jobs = []
    for seed in seed_numbers(request.seeds or SEEDS[request.preset]):
        settings = TableSettings(
            task="classification",
            folds=FOLDS[request.preset],
            width=request.width or TableSettings.width,
            others=COMPARED,
            seed=seed,
        )
        jobs += [
            _job(name, table, settings, threads, request, out) for name, table in tables.items()
        ]
    return jobs


def _job(
    name: str, table: Any, settings: TableSettings, threads: int, request: Request, out: Path
) -> Job:
    config = {
        "experiment": "real-tables",
        "data": name,
        "arch": "fc",
        "kind": "dlgn",
        "threads": threads,
        "epochs": request.epochs or 0,
        **{key: list(v) if isinstance(v, tuple) else v for key, v in asdict(settings).items()},
    }

    def perform(where: Path, watcher: Watcher) -> RunRecord:
        started = time.perf_counter()
        with use_threads(threads):
            found = compare_table(table, keel.TARGET, settings)
        return _record(config, found, time.perf_counter() - started)

    return Job(
        "dlgn",
        settings.seed,
        out / f"{name}-seed{settings.seed}",
        config,
        float(len(table)),
        f"{name}, seed {settings.seed}",
        perform,
    )


def _record(config: dict[str, Any], found: TableComparison, seconds: float) -> RunRecord:
    return measured_record(
        config,
        {
            "estimators": [one.name for one in found.scores],
            "folds": [list(one.folds) for one in found.scores],
            "held_out": [one.held_out for one in found.scores],
            "seconds": [one.seconds for one in found.scores],
            "fidelity": found.fidelity,
            "leaves": found.tree.n_leaves,
            "columns": len(found.importance),
            "classes": len(found.pipeline.classes_),
        },
        n_train=found.rows_learnt,
        n_test=found.rows_held_out,
        parameters=sum(p.numel() for p in found.pipeline[-1].net_.parameters()),
        seconds=seconds,
        test_accuracy=found.scores[0].held_out,
    )
