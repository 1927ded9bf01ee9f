"""The jobs of the experiment `trees`: one for each number of columns and seed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dualview.experiments.experiment import Request
from dualview.experiments.jobs import Job
from dualview.experiments.records import RunRecord, provenance
from dualview.experiments.seeds import Seeds, seed_numbers
from dualview.experiments.trees.measure import Task, tree_measured
from dualview.training import TrainSettings, Watcher, cpu_threads
from dualview.training.run import device_name


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
        before, started = torch.get_num_threads(), time.perf_counter()
        torch.set_num_threads(threads)
        try:
            found = tree_measured(task)
        finally:
            torch.set_num_threads(before)
        return _record(task, config, found, time.perf_counter() - started)

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


def _record(task: Task, config: dict[str, Any], found: dict[str, Any], seconds: float) -> RunRecord:
    accuracies = dict(zip(found["estimators"], found["accuracies"], strict=True))
    return RunRecord(
        experiment="trees",
        data=config["data"],
        architecture="fc",
        width=task.width,
        kind="dlgn",
        seed=task.seed,
        epochs=task.epochs,
        status="finished",
        message="",
        test_accuracy=accuracies["dlgn"],
        max_test_accuracy_over_epochs=None,
        n_train=task.rows,
        n_validation=0,
        n_test=task.unseen,
        parameters=_parameters(task),
        seconds=seconds,
        config=config,
        curve=(),
        provenance=provenance(device_name(torch.device("cpu"))),
        measurements=found,
    )
