"""Claim: the exact NPK of real networks, in milliseconds a pair, within 1.5 GB beside the data.

On two CPU cores, hard gates, float32, all in one run:
- C4GAP 64-64-128-128, 32x32, zero padding: at most 0.8 ms a pair where there is AVX-512 (time of
  a Gram of 64 examples divided by its pairs, gating networks included);
- FC 784-1000x5-10, Gram of 10,000 examples: at least 4 times faster than the chain of float32
  matrix products that other code uses, by numpy and by torch;
- C4GAP on a processor that has AVX2 alone (what numba compiles for is narrowed): at most 1.6 ms;
- ResNet-20, VGG-16 (average pooling) and a ResNet-20 with a max-pooled stem at 32x32: time a pair;
- ResNet-18 and ResNet-50 at 224x224: a pair in at most 2 s and 1 GB, beside the words of 64
  channels that must be counted for it (positions^2 in each gated layer);
- peak memory of each beside the data, measured in a process of its own.

    python benchmarks/path_kernel.py [--quick] [--against neural-tangents] [--json FILE]

`--against` also times the best public CNN kernel with global pooling, where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from image_networks import SIZE, Block, convolution, resnet18, resnet50
from measurement import Measurement, best_of, parser_of, report, resident
from torch import Tensor, nn

import dualview as dv
from dualview.architectures import c4gap, fc, resnet20, vgg16

IMAGE = (3, 32, 32)
FC_EXAMPLES = 10_000
CLAIMED = {"C4GAP 64-64-128-128": 0.8}
"""Network -> most milliseconds a pair."""
MEGABYTES = 1500.0
TIMES_FASTER = 4.0

MODELS: dict[str, Callable[[], nn.Module]] = {
    "C4GAP 64-64-128-128": lambda: c4gap(widths=(64, 64, 128, 128)),
    "ResNet-20": resnet20,
    "VGG-16": vgg16,
    "FC 784-1000x5-10": lambda: fc(width=1000),
}


AT_SIZE = {"ResNet-18, 224x224": resnet18, "ResNet-50, 224x224": resnet50}
PAIR_SECONDS, PAIR_MEGABYTES = 2.0, 1000.0
AVX2_MILLISECONDS = 1.6
AVX2 = "+avx,+avx2,+bmi,+bmi2,+cx16,+f16c,+fma,+lzcnt,+movbe,+popcnt,+sse4.2,+ssse3,+64bit"


def pooled_stem() -> nn.Module:
    """Three stages of three blocks, as ResNet-20, behind a max pool."""
    layers = [*convolution(3, 16, 3), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
    inputs = 16
    for width in (16, 32, 64):
        for block in range(3):
            layers.append(Block(inputs, width, 1 + (width > 16 and not block), bottleneck=False))
            inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


MODELS["ResNet-20, max-pooled stem"] = pooled_stem


def at_size(name: str) -> tuple[dv.GatedNetwork, Tensor]:
    """A network with its own gates and two images of 224 pixels."""
    torch.manual_seed(0)
    net = dv.disentangle(AT_SIZE[name](), kind="dnn").eval()
    return net, torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def time_at_size(name: str, rounds: int) -> Iterator[Measurement]:
    """Time one pair of large images, and count what cannot be saved."""
    net, x = at_size(name)
    dv.npk(net, x[:1, :, ::4, ::4], x[1:, :, ::4, ::4])  # compiles
    seconds = best_of(lambda: dv.npk(net, x[:1], x[1:]), rounds)
    start = time.process_time()
    dv.npk(net, x[:1], x[1:])
    cores = time.process_time() - start
    with torch.no_grad():
        gates = net.gates(x[:1])
    words = sum(math.prod(g.shape[2:]) ** 2 * math.ceil(g.shape[1] / 64) for g in gates)
    yield Measurement(name, "a pair, gating included, shortest", seconds, "s", rounds, PAIR_SECONDS)
    yield Measurement(name, "a pair, gating included, of processor time", cores, "s", 1)
    yield Measurement(name, "words of 64 channels a pair", words / 1e6, "million", 1)
    megabytes = float(output_of_new_process("--memory", name, "2"))
    quantity = "memory beside network and images, a pair"
    yield Measurement(name, quantity, megabytes, "MB", 1, at_most=PAIR_MEGABYTES)


def output_of_new_process(*options: str, **environment: str) -> str:
    """What this script prints with these options, in a process that does nothing else."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), *options],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return done.stdout


def with_avx2_alone() -> Measurement:
    """Time C4GAP in a process whose compiler knows of no wider registers."""
    narrow = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": AVX2}
    milliseconds = float(output_of_new_process("--narrow", **narrow))
    name, quantity = "C4GAP 64-64-128-128, AVX2 alone", "a pair, Gram of 64, shortest"
    return Measurement(name, quantity, milliseconds, "ms", 3, at_most=AVX2_MILLISECONDS)


def milliseconds_a_pair(name: str, n: int, rounds: int) -> float:
    """The shortest time of a Gram of n images, by its pairs."""
    net, x = network(name), examples(name, n)
    dv.npk(net, x[:2])  # compiles
    return 1e3 * best_of(lambda: dv.npk(net, x), rounds) / (n * (n + 1) // 2)


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
    milliseconds = milliseconds_a_pair(name, n, rounds)
    corner = dv.npk(net, x[:2])
    start = time.perf_counter()
    exact = dv.npk(net.double(), x[:2].double())
    rules = (time.perf_counter() - start) / 3
    error = float((corner - exact).abs().max() / exact.abs().max())
    took = f"a pair, Gram of {n}, shortest"
    yield Measurement(name, took, milliseconds, "ms", rounds, CLAIMED.get(name))
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
    from dualview.path_kernel.fast.reader import read_network
    from dualview.path_kernel.setting import Setting

    name = "FC 784-1000x5-10"
    net, x = network(name), examples(name, n)
    with torch.no_grad():
        gates = [torch.cat(g) for g in zip(*(net.gates(b) for b in x.split(500)), strict=True)]
        plan = read_network(net, x, Setting(), "model")
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
    net, x = at_size(name) if name in AT_SIZE else (network(name), examples(name, n))
    dv.npk(net, x[:2, ..., ::4, ::4] if name in AT_SIZE else x[:2])
    before = resident("VmRSS")
    dv.npk(net, x[:1], x[1:]) if name in AT_SIZE else dv.npk(net, x)
    return resident("VmHWM") - before


def memory_in_new_process(name: str, n: int) -> Measurement:
    """`peak_memory`, measured in a process that does nothing else."""
    megabytes = float(output_of_new_process("--memory", name, str(n)))
    quantity = f"memory beside the data, Gram of {n:,}"
    return Measurement(name, quantity, megabytes, "MB", 1, at_most=MEGABYTES)


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
    yield with_avx2_alone()
    for name in AT_SIZE:
        yield from time_at_size(name, rounds)
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
    parser.add_argument("--narrow", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(peak_memory(options.memory[0], int(options.memory[1])))
        return
    if options.narrow:
        print(milliseconds_a_pair("C4GAP 64-64-128-128", 64, 3))
        return
    if options.against and importlib.util.find_spec("neural_tangents") is None:
        parser.error("--against: expected neural-tangents, not installed; pip install it")
    libraries = ["numba", "numpy", *([options.against] if options.against else [])]
    report(__file__, __doc__, measured(options), libraries, options.json)


if __name__ == "__main__":
    main()
