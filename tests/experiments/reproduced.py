"""Every experiment, done once at a tiny size."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from unittest import mock

from dualview.datasets import Dataset, Split, load
from dualview.errors import DualviewWarning
from dualview.experiments.datamodels import plan as datamodels
from dualview.experiments.experiment import Experiment, Machine, Request
from dualview.experiments.experiment_report import write_outputs
from dualview.experiments.explanations import plan as explanations
from dualview.experiments.gate_learning import plan as gate_learning
from dualview.experiments.invariances import plan as invariances
from dualview.experiments.kernel_learner import plan as kernel_learner
from dualview.experiments.real_tables import keel
from dualview.experiments.real_tables import plan as real_tables
from dualview.experiments.records import RunRecord
from dualview.experiments.registry import EXPERIMENTS
from dualview.experiments.reproduction import reproduce
from dualview.experiments.trees import plan as trees
from dualview.experiments.width import concentration
from dualview.experiments.width import plan as width


def tiny_request(experiment: Experiment, **changes: object) -> Request:
    """One seed, one epoch, narrow networks where the experiment lets one choose."""
    request = Request(seeds=1, epochs=1, machine=Machine(accelerator="cpu", threads=1))
    if experiment.name == "architectures":
        request = replace(request, arch="c4gap")  # its five kinds are trained; others are planned
    if "width" in experiment.options:
        # Six layers of four units are dead for all examples, and have no kernel.
        request = replace(request, width=16 if experiment.name == "alignment" else 4)
    return replace(request, **changes)


OF_FEW = ("architectures", "invariances", "distillation", "gating", "pruning")
"""Experiments that train many networks or large ones; here they see few examples."""


def few_digits(n: int = 120) -> Dataset:
    """The first examples of each split of the digits."""
    data = load("digits")
    cut = {
        name: Split(part.images[:n], part.labels[:n])
        for name in ("train", "validation", "test")
        for part in (getattr(data, name),)
    }
    return replace(data, **cut)


def tiny_reproduce(name: str, folder: Path, **changes: object) -> list[RunRecord]:
    """Do the experiment on the digits, at its tiny size."""
    progress = changes.pop("progress", None)
    request = tiny_request(EXPERIMENTS[name], **changes)
    data = few_digits(200) if name in OF_FEW else None
    with warnings.catch_warnings(), smaller():
        # Batch norm on a constant input: the experiments ask for it.
        warnings.simplefilter("ignore", DualviewWarning)
        return reproduce(EXPERIMENTS[name], request, folder, data=data, progress=progress)  # type: ignore[arg-type]


def few_tables() -> dict[str, object]:
    """In place of those of a package that the tests do without."""
    lines = (f"{i % 7}, {'ab'[i % 2]}, {'yes' if i % 7 > 3 else 'no'}" for i in range(60))
    return {"sevens": keel.read_table_text("\n".join(lines))}


@contextmanager
def smaller() -> Iterator[None]:
    """What a request cannot make smaller: the number of gate orders, stages, points, examples."""
    kernel = replace(gate_learning.SMALL_PRESET.kernel, n_train=60, n_test=40)
    recipe = replace(gate_learning.SMALL_PRESET, stages=2, kernel=kernel)
    with (
        mock.patch.object(invariances, "is_small", return_value=False),
        mock.patch.object(gate_learning, "SMALL_PRESET", recipe),
        mock.patch.object(explanations, "EXAMPLES", 2),
        mock.patch.object(trees, "CPU_PRESET", trees.TreesPreset(((3, 60, 2),), 40, 4, 3, 1, 1)),
        mock.patch.object(keel, "keel_tables", few_tables),
        mock.patch.object(real_tables, "COMPARED", ("mlp", "linear")),
        mock.patch.dict(
            kernel_learner.EXAMPLES_AT_MOST, dict.fromkeys(kernel_learner.EXAMPLES_AT_MOST, 40)
        ),
        mock.patch.multiple(datamodels, SUBSETS=2, TARGETS=3, MOST_TRAINING=60),
        mock.patch.object(width, "TIMES", (1, 2)),
        mock.patch.multiple(concentration, MOST_MEASURED=4, DRAWS=10),
    ):
        yield


@cache
def _done(name: str) -> tuple[Path, tuple[RunRecord, ...]]:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return folder / "runs", tuple(tiny_reproduce(name, folder / "runs"))


def tiny_folder(name: str) -> Path:
    """Where the experiment was done, once for all tests of a process."""
    return _done(name)[0]


def tiny_records(name: str) -> tuple[RunRecord, ...]:
    """The records of the experiment, in the order of its jobs."""
    return _done(name)[1]


@cache
def tiny_outputs(name: str) -> Path:
    """Its page, beside its tables and figures: written once for all tests of a process."""
    out = tiny_folder(name).with_name("outputs")
    return write_outputs(EXPERIMENTS[name], tiny_records(name), out)
