"""Claim: a DLGN's training step costs what its two networks' convolutions cost, and no more.

C4GAP (128 channels, 32x32, batch 64, CPU, Adam), all in one run, rounds interleaved:
- the DLGN's step takes at most 2.2 times the DNN's;
- it is not slower than a two-network module written by hand;
- with constant-1 input it is faster than with data;
- its peak memory is at most 2.3 times the DNN's (each measured in a process of its own).

    python benchmarks/train_step.py [--rounds 10] [--width 128] [--batch 64]
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import dualview as dv
from dualview.architectures import c4gap

KINDS = ("DNN", "DLGN", "DLGN by hand", "DLGN, ones", "DGN")


class TwoNetworks(nn.Module):
    """C4GAP as a DLGN, written the way one writes it without this library."""

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = [3] + [width] * 4
        pairs = list(itertools.pairwise(channels))
        self.gating = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in pairs)
        self.weights = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in pairs)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) -> logits (n, 10)."""
        q, z = x, x
        for gating, weights in zip(self.gating, self.weights, strict=True):
            q = gating(q)
            z = weights(z) * torch.sigmoid(4 * q)
        return self.head(z.mean((2, 3)))


def network(kind: str, width: int) -> nn.Module:
    """The network under test."""
    model = c4gap(width=width)
    if kind == "DNN":
        return model
    if kind == "DLGN by hand":
        return TwoNetworks(width)
    return dv.disentangle(
        model,
        "dgn" if kind == "DGN" else "dlgn",
        weights_input="ones" if kind.endswith("ones") else "data",
        seed=0,
    )


def step_of(kind: str, width: int, batch: int) -> Callable[[], None]:
    """One training step on a fixed random batch."""
    torch.manual_seed(0)
    net = network(kind, width)
    optimiser = torch.optim.Adam(net.parameters(), 3e-4)
    x, y = torch.randn(batch, 3, 32, 32), torch.randint(10, (batch,))

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(net(x), y).backward()
        optimiser.step()

    return step


def peak_memory(kind: str, width: int, batch: int) -> float:
    """Peak resident memory, in MB, that training adds to the bare process."""
    before = high_water_mark()
    step = step_of(kind, width, batch)
    for _ in range(3):
        step()
    return high_water_mark() - before


def high_water_mark() -> float:
    """Peak resident memory of this process in MB (Linux).

    `resource.getrusage` will not do: a child's figure starts at its parent's.
    """
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure_in_new_process(kind: str, width: int, batch: int) -> float:
    """`peak_memory`, in a process that has done nothing else."""
    command = [sys.executable, str(Path(__file__)), "--memory", kind]
    command += ["--width", str(width), "--batch", str(batch)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--memory", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(peak_memory(options.memory, options.width, options.batch))
        return
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, C4GAP width "
        f"{options.width}, batch {options.batch}, n = {options.rounds} rounds"
    )
    steps = {kind: step_of(kind, options.width, options.batch) for kind in KINDS}
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for round_ in range(options.rounds + 1):
        for kind, step in steps.items():
            start = time.perf_counter()
            step()
            if round_:  # the first warms up
                seconds[kind].append(time.perf_counter() - start)
    megabytes = {k: measure_in_new_process(k, options.width, options.batch) for k in KINDS}
    print(f"{'network':14}{'median ms':>10}{'min ms':>9}{'x DNN':>7}{'peak MB':>9}{'x DNN':>7}")
    for kind in KINDS:
        middle, least = median(seconds[kind]), min(seconds[kind])
        times = median(a / b for a, b in zip(seconds[kind], seconds["DNN"], strict=True))
        more = megabytes[kind] / megabytes["DNN"]
        print(
            f"{kind:14}{1e3 * middle:10.0f}{1e3 * least:9.0f}{times:7.2f}"
            f"{megabytes[kind]:9.0f}{more:7.2f}"
        )


if __name__ == "__main__":
    main()
