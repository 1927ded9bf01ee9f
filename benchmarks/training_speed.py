"""Claim: a CPU trains convolutions at no less than half the speed of its matrix products.

C6WHITE (half its widths, CIFAR's shape, SGD), as DNN and DLGN, each way of training it beside the
others, rounds interleaved, on one thread and on two:
- float32 with images stored plane by plane, float32 and, where the processor multiplies it,
  bfloat16 with channels last (which `train` uses), and the last through torch.compile;
- images a second of processor time (of one thread times their number), so that other programs
  matter little;
- the share of what matrix products of the same type reach in the same rounds.

Operations are PyTorch's count of matrix products and convolutions, forward and backward.

    python benchmarks/training_speed.py [--rounds 5] [--width 32] [--batch 500] [--json FILE]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from measurement import Measurement, parser_of, report
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import dualview as dv
from dualview.architectures import c6white
from dualview.training.run import multiplies_bfloat16

KINDS = {"DNN": "dnn", "DLGN": "dlgn"}
CLAIM = 0.5
PRODUCT = 1536
"""Rows and columns of the matrices whose product tells the peak."""


@dataclass(frozen=True)
class Way:
    """One way to train."""

    name: str
    dtype: torch.dtype = torch.float32
    channels_last: bool = True
    compiled: bool = False


WAYS = (
    Way("float32, planes", channels_last=False),
    Way("float32"),
    Way("bfloat16", torch.bfloat16),
    Way("bfloat16, compiled", torch.bfloat16, compiled=True),
)
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def network(kind: str, width: int) -> nn.Module:
    """C6WHITE, or what it is taken apart into; in training mode."""
    torch.manual_seed(0)
    model = c6white(width=width).eval()
    if kind == "DNN":
        return model.train()
    return dv.disentangle(model, "dlgn", seed=0).train()


def step_of(kind: str, way: Way, width: int, batch: int) -> Callable[[], None]:
    """One training step on a fixed random batch."""
    net = network(kind, width)
    layout = torch.channels_last if way.channels_last else torch.contiguous_format
    net.to(memory_format=layout)  # type: ignore[call-overload]
    run = torch.compile(net) if way.compiled else net
    optimiser = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9, nesterov=True, fused=True)
    x = torch.randn(batch, 3, 32, 32).contiguous(memory_format=layout)
    y = torch.randint(10, (batch,))

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", way.dtype, enabled=way.dtype != torch.float32):
            logits = run(x)
        F.cross_entropy(logits.float(), y).backward()
        optimiser.step()

    return step


def operations(kind: str, width: int) -> float:
    """Of a training step, for each image."""
    images = 2
    with FlopCounterMode(display=False) as counter:
        step_of(kind, WAYS[1], width, images)()
    return counter.get_total_flops() / images


def product_of(dtype: torch.dtype) -> Callable[[], None]:
    """A matrix product."""
    a, b = (torch.randn(PRODUCT, PRODUCT).to(dtype) for _ in range(2))
    return lambda: (a @ b, None)[1]


def seconds_of(
    calls: dict[str, Callable[[], None]], rounds: int, threads: int
) -> dict[str, list[float]]:
    """Processor time of one thread for each call, rounds interleaved, after one that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(rounds + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if round_:
                seconds[name].append((time.process_time() - start) / threads)
    return seconds


def of_threads(options: argparse.Namespace, threads: int) -> Iterator[Measurement]:
    """Every way on so many threads."""
    torch.set_num_threads(threads)
    where = f"{threads} thread{'s' if threads > 1 else ''}"
    ways = [way for way in WAYS if way.dtype in options.types]
    ways = [way for way in ways if options.compile or not way.compiled]
    types = {name: dtype for name, dtype in TYPES.items() if dtype in options.types}
    calls = {f"product {name}": product_of(dtype) for name, dtype in types.items()}
    for kind in KINDS:
        for way in ways:
            calls[f"{kind} {way.name}"] = step_of(kind, way, options.width, options.batch)
    seconds = seconds_of(calls, options.rounds, threads)
    peak = {name: 2 * PRODUCT**3 / min(seconds[f"product {name}"]) for name in types}
    for name in types:
        yield Measurement(
            where, f"matrix product, {name}", peak[name] / 1e9, "GFLOP/s", options.rounds
        )
    for kind in KINDS:
        yield from _of_kind(kind, ways, seconds, peak, options, where)


def _of_kind(
    kind: str,
    ways: list[Way],
    seconds: dict[str, list[float]],
    peak: dict[str, float],
    options: argparse.Namespace,
    where: str,
) -> Iterator[Measurement]:
    subject, rounds = f"{kind}, {where}", options.rounds
    work = options.batch * operations(kind, options.width)
    for way in ways:
        least = min(seconds[f"{kind} {way.name}"])
        yield Measurement(subject, way.name, options.batch / least, "images/s", rounds)
        share = work / least / peak[way.name.split(",")[0]]
        bound = CLAIM if way.channels_last and not way.compiled else None
        quantity = f"{way.name}: share of the product's speed"
        yield Measurement(subject, quantity, share, "", rounds, at_least=bound)


def measured(options: argparse.Namespace) -> Iterator[Measurement]:
    """One thread, then two."""
    for threads in options.threads:
        yield from of_threads(options, threads)


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    options.types = (torch.float32, torch.bfloat16) if multiplies_bfloat16() else (torch.float32,)
    report(__file__, __doc__, measured(options), json_file=options.json)


if __name__ == "__main__":
    main()
