"""Claim: a DLGN's training step costs what its two networks' convolutions cost, and no more.

C4GAP (128 channels, 32x32, batch 64, CPU, Adam), all in one run, rounds interleaved:
- the DLGN's step takes at most 2.2 times the DNN's;
- it is not slower, to within 5 %, than a two-network module written by hand;
- with constant-1 input it is faster than with data;
- its peak memory is at most 2.3 times the DNN's (each measured in a process of its own).

    python benchmarks/train_step.py [--rounds 10] [--width 128] [--batch 64] [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
from measurement import Measurement, parser_of, report, resident
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


def seconds_of_steps(width: int, batch: int, rounds: int) -> dict[str, list[float]]:
    """Times of the steps of each kind, rounds interleaved, after one that warms up."""
    steps = {kind: step_of(kind, width, batch) for kind in KINDS}
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for round_ in range(rounds + 1):
        for kind, step in steps.items():
            start = time.perf_counter()
            step()
            if round_:
                seconds[kind].append(time.perf_counter() - start)
    return seconds


def times(width: int, batch: int, rounds: int) -> Iterator[Measurement]:
    """Claims 1 to 3. Ratios are medians of the rounds' ratios."""
    seconds = seconds_of_steps(width, batch, rounds)
    for kind in KINDS:
        taken = seconds[kind]
        yield Measurement(kind, "time of a step, median", 1e3 * median(taken), "ms", rounds)
        yield Measurement(kind, "time of a step, shortest", 1e3 * min(taken), "ms", rounds)

    def ratio(kind: str, other: str, at_most: float | None) -> Measurement:
        value = median(a / b for a, b in zip(seconds[kind], seconds[other], strict=True))
        return Measurement(kind, f"time / time of {other}", value, "", rounds, at_most)

    yield ratio("DLGN", "DNN", 2.2)
    yield ratio("DLGN", "DLGN by hand", 1.05)
    yield ratio("DLGN, ones", "DLGN", 1.0)
    yield ratio("DGN", "DNN", None)


def memory(width: int, batch: int) -> Iterator[Measurement]:
    """Claim 4."""
    megabytes = {kind: memory_in_new_process(kind, width, batch) for kind in KINDS}
    for kind in KINDS:
        yield Measurement(kind, "peak memory", megabytes[kind], "MB", 1)
    ratio = megabytes["DLGN"] / megabytes["DNN"]
    yield Measurement("DLGN", "peak memory / that of DNN", ratio, "", 1, at_most=2.3)


def peak_memory(kind: str, width: int, batch: int) -> float:
    """Peak resident memory, in MB, that training adds to the bare process."""
    before = resident("VmHWM")
    step = step_of(kind, width, batch)
    for _ in range(3):
        step()
    return resident("VmHWM") - before


def memory_in_new_process(kind: str, width: int, batch: int) -> float:
    """`peak_memory`, in a process that has done nothing else."""
    command = [sys.executable, str(Path(__file__)), "--memory", kind]
    command += ["--width", str(width), "--batch", str(batch)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--memory", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = options.width, options.batch
    if options.memory:
        print(peak_memory(options.memory, *size))
        return
    measured = itertools.chain(times(*size, options.rounds), memory(*size))
    report(__file__, __doc__, measured, json_file=options.json)


if __name__ == "__main__":
    main()
