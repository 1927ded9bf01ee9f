"""Claim: run after run in one process, nothing is left behind.

After `--warm-up` runs, which import and fill what is kept on purpose, further ones leave no file
descriptor, no thread and no temporary file, and memory grows by at most 128 KiB a run.

    python benchmarks/soak.py               # 200 runs
    python benchmarks/soak.py --runs 20

A run compares a DNN and a DLGN on 200 digits for two epochs and writes the report, reads the
records back, computes a Gram matrix into a store and random features of the same network, and
deletes its folder. One thread; garbage is collected before anything is counted.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import psutil
import torch
from torch import nn

import dualview as dv
from dualview.cli.comparison import REPORT, TITLE, write_comparison_report
from dualview.datasets import Dataset, Split, load
from dualview.experiments.compare import compare
from dualview.experiments.records import load_records
from dualview.experiments.settings import ComparisonSettings
from dualview.training import TrainSettings

RUNS, WARM_UP = 200, 20
GROWTH = 128 * 1024
"""Bytes a run. torch.fx keeps the source of every graph that it compiles (eighteen a run), for
tracebacks, until the process ends."""

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

    resident: int
    """Bytes of memory."""
    descriptors: int
    threads: int
    files: int
    """In the folder of temporary files."""


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, 1 thread used")
    print(f"versions: dualview {dv.__version__}, torch {torch.__version__}, ", end="")
    print(f"Python {platform.python_version()}")
    start = time.perf_counter()
    before, after = soak(options.runs, options.warm_up)
    seconds = time.perf_counter() - start
    print(f"{options.warm_up} runs to warm up, then n = {options.runs} runs, {seconds:.0f} s\n")
    print(f"{'':16}{'before':>12}{'after':>12}")
    print(f"{'memory, MiB':16}{before.resident / 2**20:>12.1f}{after.resident / 2**20:>12.1f}")
    for name in ("descriptors", "threads", "files"):
        print(f"{name:16}{getattr(before, name):>12}{getattr(after, name):>12}")
    growth = (after.resident - before.resident) / options.runs
    verdict = "holds" if holds(before, after, options.runs) else "DOES NOT HOLD"
    print(f"\nclaim {verdict}: memory grew by {growth / 1024:.1f} KiB a run")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--warm-up", type=int, default=WARM_UP)
    return parser.parse_args()


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


def holds(before: Count, after: Count, runs: int) -> bool:
    """Whether nothing but a little memory was added."""
    same = astuple(before)[1:] == astuple(after)[1:]
    return same and after.resident - before.resident <= GROWTH * runs


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
        write_comparison_report(load_records(folder / "runs"), folder / REPORT, TITLE)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
        net, x = dv.disentangle(model, "dlgn", seed=0), data.test.images[:24] / 16
        dv.npk_gram(net, x, folder / "gram.zarr", block=8, workers=2, progress=False)
        dv.npk_features(net, x, 32)
    finally:
        shutil.rmtree(folder)


def count(folder: Path) -> Count:
    """What the process holds now, garbage aside."""
    gc.collect()
    process = psutil.Process()
    return Count(
        resident=process.memory_info().rss,
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
