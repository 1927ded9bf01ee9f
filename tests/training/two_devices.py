"""Run as a program: a comparison on two devices, each of which is a process of the CPU."""

from __future__ import annotations

import sys
from pathlib import Path

from dualview.experiments.comparison import compare
from dualview.training import is_main_process
from tests.experiments.small import small
from tests.training.tiny import tiny_data

if __name__ == "__main__":
    settings = small(kinds=("dnn",), training={"devices": 2, "epochs": 2})
    (record,) = compare(settings, Path(sys.argv[1]), data=tiny_data())
    if is_main_process():
        print(f"rank 0: {len(record.curve)} epochs", flush=True)
