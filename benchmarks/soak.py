"""Claim: run after run in one process, nothing is left behind.

After `--warm-up` runs, which import and fill what is kept on purpose, further ones leave no file
descriptor, thread or temporary file and less than one Python object each, and memory grows by 8 MiB
at most, whatever their number. A network kept of each of 200 runs would be 280 objects a run and
13 MiB; tables of the interpreter, which grow as a whole at times, are allowed for.

    python benchmarks/soak.py               # 200 runs
    python benchmarks/soak.py --runs 20

A run compares a DNN and a DLGN on 200 digits for two epochs and writes the report, reads the
records back, computes a Gram matrix into a store and random features of the same network, and
deletes its folder. One thread; garbage is collected, and freed memory handed back to the system,
before anything is counted.
"""

from __future__ import annotations

import ctypes
import gc
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch
from measurement import Measurement, parser_of, report, resident
from torch import nn

import dualview as dv
from dualview.cli.comparison import REPORT, REPORT_TITLE
from dualview.datasets import Dataset, Split, load
from dualview.experiments.comparison import compare
from dualview.experiments.records import load_records
from dualview.experiments.report import write_report
from dualview.experiments.settings import ComparisonSettings
from dualview.training import TrainSettings

RUNS, WARM_UP = 200, 40
GROWTH = 8.0
"""MiB, of all runs together."""

SETTINGS = ComparisonSettings(
    kinds=("dnn", "dlgn"),
    width=16,
    seeds=1,
    training=TrainSettings(
        epochs=2, batch_size=50, accelerator="cpu", threads=1, tensorboard=False
    ),
)


@dataclass(frozen=True)
class Count:
    """What the process holds."""

    memory: float
    """MiB."""
    objects: int
    """That the garbage collector follows."""
    descriptors: int
    threads: int
    files: int
    """In the folder of temporary files."""


NAMES = {
    "memory": "memory",
    "objects": "Python objects",
    "descriptors": "file descriptors",
    "threads": "threads",
    "files": "temporary files",
}
"""Fields of a count in words."""


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--warm-up", type=int, default=WARM_UP)
    options = parser.parse_args()
    torch.set_num_threads(1)
    report(__file__, __doc__, measured(options.runs, options.warm_up), json_file=options.json)


def measured(runs: int, warm_up: int) -> Iterator[Measurement]:
    """What a soak of so many runs added."""
    yield from compared(*soak(runs, warm_up), runs)


def compared(before: Count, after: Count, runs: int) -> Iterator[Measurement]:
    """What is held before the runs, and what they added, with its bound."""
    bounds = {"memory": GROWTH, "objects": runs - 1}
    for field, name in NAMES.items():
        held, unit = getattr(before, field), "MiB" if field == "memory" else ""
        yield Measurement(name, "before the runs", held, unit, 1)
        added, bound = getattr(after, field) - held, bounds.get(field, 0)
        yield Measurement(name, "added by the runs", added, unit, runs, at_most=bound)


def soak(runs: int, warm_up: int) -> tuple[Count, Count]:
    """What the process holds after the runs that warm up, and after the others."""
    data = few_digits()
    with own_temporary_folder() as folder:
        for _ in range(warm_up):
            short_run(data)
        before = count(folder)
        for _ in range(runs):
            short_run(data)
        return before, count(folder)


def few_digits(n: int = 200) -> Dataset:
    """The first `n` examples of each split of the digits."""
    data = load("digits")
    train, validation, test = (
        Split(part.images[:n], part.labels[:n]) for part in (data.train, data.validation, data.test)
    )
    return replace(data, train=train, validation=validation, test=test)


def short_run(data: Dataset) -> None:
    """Everything that a user does, once, in a folder that is deleted at the end."""
    folder = Path(tempfile.mkdtemp())
    try:
        compare(SETTINGS, folder / "runs", data=data)
        write_report(load_records(folder / "runs"), folder / REPORT, REPORT_TITLE)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
        net, x = dv.disentangle(model, "dlgn", seed=0), data.test.images[:24] / 16
        dv.npk_gram(net, x, folder / "gram.zarr", block=8, workers=2, progress=False)
        dv.npk_features(net, x, 32)
    finally:
        shutil.rmtree(folder)


def count(folder: Path) -> Count:
    """What the process holds now, garbage and freed memory aside."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else it says how memory is scattered, not how much is held
    process = psutil.Process()
    return Count(
        memory=resident("VmRSS"),
        objects=len(gc.get_objects()),
        descriptors=process.num_fds(),
        threads=process.num_threads(),
        files=sum(1 for _ in folder.rglob("*")),
    )


@contextmanager
def own_temporary_folder() -> Iterator[Path]:
    """A folder that stands in for the system's, where other processes leave files too."""
    earlier = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = earlier


if __name__ == "__main__":
    main()
