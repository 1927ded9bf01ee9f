"""The jobs of the experiment `trees`: one for each number of columns and seed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dualview.experiments.experiment import Request
from dualview.experiments.jobs import Job, measured_record
from dualview.experiments.records import RunRecord
from dualview.experiments.seeds import Seeds, seed_numbers
from dualview.experiments.trees.measure import Task, tree_measured
from dualview.training import TrainSettings, Watcher, cpu_threads
from dualview.training.threads import use_threads


@dataclass(frozen=True)
class TreesPreset:
    """Size and settings."""

    sizes: Sequence[tuple[int, int, int]]
    """Columns, rows to learn from, and the depth of the tree."""
    unseen: int
    width: int
    depth: int
    epochs: int
    seeds: Seeds


CPU_PRESET = TreesPreset(
    ((20, 16_000, 3), (100, 16_000, 2), (500, 16_000, 2)), 8_000, 32, 4, 100, 2
)
PAPER_PRESET = TreesPreset(
    ((20, 40_000, 4), (100, 60_000, 4), (500, 100_000, 4)), 20_000, 128, 5, 400, 5
)
"""Rows and columns of the ICLR 2025 work; widths, trees and rows asked for are this package's."""


def plan(request: Request, data: Any, out: Path) -> list[Job]:
    """Every number of columns, seed by seed; data is not looked at."""
    preset = PAPER_PRESET if request.preset == "paper" else CPU_PRESET
    threads = cpu_threads(request.applied(TrainSettings(threads=1))) or 1
    return [
        _job(size, seed, preset, request, threads, out)
        for seed in seed_numbers(request.seeds or preset.seeds)
        for size in preset.sizes
    ]


def _job(
    size: tuple[int, int, int],
    seed: int,
    preset: TreesPreset,
    request: Request,
    threads: int,
    out: Path,
) -> Job:
    columns, rows, tree_depth = size
    task = Task(
        columns=columns,
        rows=rows,
        unseen=preset.unseen,
        tree_depth=tree_depth,
        width=request.width or preset.width,
        depth=preset.depth,
        epochs=request.epochs or preset.epochs,
        seed=seed,
    )
    config = {
        "experiment": "trees",
        "data": f"oblique trees in {columns} columns",
        "arch": "fc",
        "kind": "dlgn",
        "threads": threads,
        "n_train": rows,
        "n_validation": 0,
        "n_test": preset.unseen,
        **asdict(task),
    }

    def perform(where: Path, watcher: Watcher) -> RunRecord:
        started = time.perf_counter()
        with use_threads(threads):
            found = tree_measured(task)
        scores = dict(zip(found["estimators"], found["accuracies"], strict=True))
        return measured_record(
            config,
            found,
            n_train=rows,
            n_test=preset.unseen,
            parameters=_parameters(task),
            seconds=time.perf_counter() - started,
            test_accuracy=scores["dlgn"],
        )

    return Job(
        "dlgn",
        seed,
        out / f"{columns}-columns-seed{seed}",
        config,
        float(rows * task.epochs * (columns + task.width * (task.depth - 2))),
        f"trees in {columns} columns, seed {seed}",
        perform,
        _parameters(task),
    )


def _parameters(task: Task) -> int:
    """Of the DLGN, both halves."""
    hidden = (task.depth - 2) * task.width * (task.width + 1)
    first = task.width * (task.columns + 1)
    return 2 * (first + hidden) + 2 * (task.width + 1)
