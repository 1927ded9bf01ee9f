"""Claim: the exact NPK of real networks, in milliseconds a pair, within 1.5 GB beside the data.

On two CPU cores, hard gates, float32, all in one run:
- C4GAP 64-64-128-128, 32x32, zero padding: at most 2 ms a pair (time of a Gram of 64 examples
  divided by its pairs, gating networks included);
- FC 784-1000x5-10, Gram of 10,000 examples: at least 4 times faster than the chain of float32
  matrix products that other code uses, by numpy and by torch;
- ResNet-20 and VGG-16 (average pooling) at 32x32: time a pair;
- peak memory of each beside the data, measured in a process of its own.

    python benchmarks/path_kernel.py [--quick] [--against neural-tangents] [--json FILE]

`--against` also times the best public CNN kernel with global pooling, where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from measurement import Measurement, best_of, parser_of, report, resident
from torch import Tensor, nn

import dualview as dv
from dualview.architectures import c4gap, fc, resnet20, vgg16

IMAGE = (3, 32, 32)
FC_EXAMPLES = 10_000
CLAIMED = {"C4GAP 64-64-128-128": 2.0}
"""Network -> most milliseconds a pair."""
MEGABYTES = 1500.0
TIMES_FASTER = 4.0

MODELS: dict[str, Callable[[], nn.Module]] = {
    "C4GAP 64-64-128-128": lambda: c4gap(widths=(64, 64, 128, 128)),
    "ResNet-20": resnet20,
    "VGG-16": vgg16,
    "FC 784-1000x5-10": lambda: fc(width=1000),
}


def network(name: str) -> dv.GatedNetwork:
    """A DLGN with hard gates, drawn from a fixed seed."""
    torch.manual_seed(0)
    return dv.disentangle(MODELS[name](), kind="dlgn", gate="hard", seed=0).eval()


def examples(name: str, n: int) -> Tensor:
    """Standard normal inputs."""
    shape = (1, 28, 28) if name.startswith("FC") else IMAGE
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1))


def time_images(name: str, n: int, rounds: int) -> Iterator[Measurement]:
    """Time a Gram of n images, and compare a corner with the general rules in float64."""
    net, x = network(name), examples(name, n)
    dv.npk(net, x[:2])  # compiles
    seconds = best_of(lambda: dv.npk(net, x), rounds)
    pairs = n * (n + 1) // 2
    corner = dv.npk(net, x[:2])
    start = time.perf_counter()
    exact = dv.npk(net.double(), x[:2].double())
    rules = (time.perf_counter() - start) / 3
    error = float((corner - exact).abs().max() / exact.abs().max())
    took = f"a pair, Gram of {n}, shortest"
    yield Measurement(name, took, 1e3 * seconds / pairs, "ms", rounds, CLAIMED.get(name))
    yield Measurement(name, "a pair by the general rules, float64", 1e3 * rules, "ms", 1)
    yield Measurement(name, "relative deviation from those rules", error, "", 1)


def chain_by_numpy(x: np.ndarray, gates: list[np.ndarray]) -> np.ndarray:
    """The chain of matrix products of other code, float32."""
    kernel = x @ x.T
    for gate in gates:
        kernel *= gate @ gate.T
    return kernel


def chain_by_torch(x: Tensor, gates: list[Tensor]) -> Tensor:
    """The same in torch."""
    kernel = x @ x.T
    for gate in gates:
        kernel *= gate @ gate.T
    return kernel


def time_dense(n: int, rounds: int) -> Iterator[Measurement]:
    """Time the dense Gram with its gates given, against the chains of matrix products."""
    from dualview.path_kernel.fast.kernel import kernel_of_packed, pack
    from dualview.path_kernel.fast.plan import FastPlan
    from dualview.path_kernel.fast.reader import fast_plan
    from dualview.path_kernel.setting import Setting

    name = "FC 784-1000x5-10"
    net, x = network(name), examples(name, n)
    with torch.no_grad():
        gates = [torch.cat(g) for g in zip(*(net.gates(b) for b in x.split(500)), strict=True)]
        plan = fast_plan(net, x, Setting(), "model")
        assert isinstance(plan, FastPlan)
        start = time.perf_counter()
        packed = pack(net, x, plan)
        packing = time.perf_counter() - start
    flat = x.flatten(1)
    arrays = [gate.numpy() for gate in gates]
    out = torch.zeros(n, n)
    kernel_of_packed(packed[:64], None, plan, out[:64, :64])  # compiles
    ours = by_numpy = by_torch = float("inf")
    for _ in range(rounds):  # interleaved, so that all meet the same machine
        ours = min(ours, best_of(lambda: kernel_of_packed(packed, None, plan, out), 1))
        by_numpy = min(by_numpy, best_of(lambda: chain_by_numpy(flat.numpy(), arrays), 1))
        by_torch = min(by_torch, best_of(lambda: chain_by_torch(flat, gates), 1))
    took = f"Gram of {n:,}, gates given, shortest"
    yield Measurement(name, took, ours, "s", rounds)
    yield Measurement(name, "gating and packing, once", packing, "s", 1)
    for chain, seconds in (("numpy's chain", by_numpy), ("torch's chain", by_torch)):
        yield Measurement(chain, took, seconds, "s", rounds)
        times = seconds / ours
        yield Measurement(chain, f"time / {name}", times, "", rounds, at_least=TIMES_FASTER)


def peak_memory(name: str, n: int) -> float:
    """Peak resident memory, in MB, that `npk` adds to network and data (Linux)."""
    net, x = network(name), examples(name, n)
    dv.npk(net, x[:2])
    before = resident("VmRSS")
    dv.npk(net, x)
    return resident("VmHWM") - before


def memory_in_new_process(name: str, n: int) -> Measurement:
    """`peak_memory`, measured in a process that does nothing else."""
    command = [sys.executable, str(Path(__file__)), "--memory", name, str(n)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    quantity = f"memory beside the data, Gram of {n:,}"
    return Measurement(name, quantity, float(done.stdout), "MB", 1, at_most=MEGABYTES)


def against_neural_tangents(rounds: int) -> Measurement:
    """Time the infinite-width NTK library's kernel of the same C4GAP."""
    from neural_tangents import stax  # type: ignore[import-not-found]

    layers = []
    for width in (64, 64, 128, 128):
        layers += [stax.Conv(width, (3, 3), padding="SAME"), stax.Relu()]
    _, _, kernel = stax.serial(*layers, stax.GlobalAvgPool(), stax.Dense(10))
    x = examples("C4GAP 64-64-128-128", 4).permute(0, 2, 3, 1).numpy()
    np.asarray(kernel(x[:1], x[:1], "nngp"))
    seconds = best_of(lambda: np.asarray(kernel(x, x, "nngp")), rounds)
    return Measurement(
        "neural-tangents", "a pair of C4GAP, Gram of 4, shortest", 1e3 * seconds / 10, "ms", rounds
    )


def measured(options: argparse.Namespace) -> Iterator[Measurement]:
    """All of it, in the order of the claims."""
    n, rounds = (32, 1) if options.quick else (64, 3)
    dense = FC_EXAMPLES // 5 if options.quick else FC_EXAMPLES
    for name in MODELS:
        if not name.startswith("FC"):
            yield from time_images(name, n, rounds)
    yield from time_dense(dense, rounds)
    for name in MODELS:
        yield memory_in_new_process(name, dense if name.startswith("FC") else n)
    if options.against:
        yield against_neural_tangents(rounds)


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer examples and rounds")
    parser.add_argument("--against", choices=["neural-tangents"])
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(peak_memory(options.memory[0], int(options.memory[1])))
        return
    if options.against and importlib.util.find_spec("neural_tangents") is None:
        parser.error("--against: expected neural-tangents, not installed; pip install it")
    libraries = ["numba", "numpy", *([options.against] if options.against else [])]
    report(__file__, __doc__, measured(options), libraries, options.json)


if __name__ == "__main__":
    main()
