"""Claim: all channel filters of a DLGN in a fraction of a second, with no matrix of a layer.

C4GAP (four 3x3 convolutions of 128 channels, 32x32), float32, on two CPU cores, each part in a
process of its own:
- all channel filters of all four layers: at most 2 s and 500 MB beside the network;
- the norms of the filters of all 131,072 gates of each layer, border included;
- the distances of 100 examples to all of them, norms included;
- the filters of 128 gates in the corner by vector-Jacobian products;
- the alternative: the dense autograd Jacobian (torch.func.jacrev) of the same 128 gates. That of
  all positions is extrapolated, since it takes 1.6 GB.

    python benchmarks/primal_filters.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import dualview as dv
from dualview.architectures import c4gap
from dualview.primal import gate_distances, primal_filters

SHAPE = (3, 32, 32)
LAYERS = 4
JACREV = "the same by jacrev"


def network() -> dv.GatedNetwork:
    """A DLGN drawn from a fixed seed."""
    torch.manual_seed(0)
    return dv.disentangle(c4gap(), kind="dlgn", seed=0).eval()


def channel_filters(net: dv.GatedNetwork, layer: int) -> Tensor:
    """Composed kernels of all channels."""
    return primal_filters(net, layer, SHAPE).channel_kernels


def norms(net: dv.GatedNetwork, layer: int) -> Tensor:
    """Norms of the filters of all gates."""
    return primal_filters(net, layer, SHAPE).norms


def distances(net: dv.GatedNetwork, layer: int) -> Tensor:
    """Distances of 100 examples to the hyperplanes of all gates."""
    x = torch.randn(100, *SHAPE, generator=torch.Generator().manual_seed(1))
    return gate_distances(net, x, layer)


def corner(net: dv.GatedNetwork, layer: int) -> Tensor:
    """Filters of all channels at the corner, over the whole input."""
    return primal_filters(net, layer, SHAPE).filters(positions=[(0, 0)])[:, 0]


def dense_jacobian(net: dv.GatedNetwork, layer: int) -> Tensor:
    """The same filters by the dense autograd Jacobian."""
    x = torch.zeros(1, *SHAPE)
    jacobian = torch.func.jacrev(lambda x: net.preactivations(x)[layer][0, :, 0, 0])(x)
    return jacobian[:, 0].detach()


PARTS: dict[str, Callable[[dv.GatedNetwork, int], Tensor]] = {
    "channel filters": channel_filters,
    "norms of all gates": norms,
    "distances, 100 examples": distances,
    "128 filters at the corner": corner,
    JACREV: dense_jacobian,
}


def measure(name: str, rounds: int) -> str:
    """For each layer wall-clock and processor seconds; peak MB beside the network (Linux)."""
    net = network()
    with torch.no_grad():
        net(torch.zeros(1, *SHAPE))  # libraries load their code at the first convolution
    before = resident("VmRSS")
    found = []
    for layer in range(LAYERS):
        wall, processor = [], []
        for _ in range(rounds):
            start, used = time.perf_counter(), time.process_time()
            PARTS[name](net, layer)
            wall.append(time.perf_counter() - start)
            processor.append(time.process_time() - used)
        found += [min(wall), min(processor)]
    return " ".join(f"{value:.3f}" for value in (*found, resident("VmHWM") - before))


def resident(field: str) -> float:
    """A memory figure of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def in_new_process(name: str, rounds: int) -> list[float]:
    """`measure` in a process that does nothing else."""
    command = [sys.executable, str(Path(__file__)), "--part", name, str(rounds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(value) for value in done.stdout.split()]


def check(net: dv.GatedNetwork, layer: int) -> float:
    """Largest relative deviation of filters and norms at the corner from the dense Jacobian."""
    exact = dense_jacobian(net, layer)
    filters = (corner(net, layer) - exact).abs().max() / exact.abs().max()
    lengths = exact.flatten(1).norm(dim=1)
    return float(max(filters, ((norms(net, layer)[:, 0, 0] - lengths) / lengths).abs().max()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(measure(options.part[0], int(options.part[1])))
        return
    rounds = 1 if options.quick else 3
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, Python "
        f"{platform.python_version()}, torch {torch.__version__}, dualview {dv.__version__}"
    )
    print(
        f"C4GAP 4 x 128, 32x32, float32, best of {rounds}; layers 0 to 3: seconds (of processor "
        f"time); all: seconds; peak memory beside the network"
    )
    for name in PARTS:
        *times, memory = in_new_process(name, rounds)
        wall, processor = times[::2], times[1::2]
        pairs = zip(wall, processor, strict=True)
        layers = "  ".join(f"{seconds:6.3f} ({used:6.3f})" for seconds, used in pairs)
        print(f"{name:26} {layers}   all {sum(wall):6.2f} s {memory:5.0f} MB")
        if name == JACREV:
            print(f"{'  of all 1,024 positions':26} {1024 * wall[-1]:.0f} s for layer 3, 1,611 MB")
    error = check(network(), LAYERS - 1)
    print(f"largest relative deviation from the dense Jacobian at the corner: {error:.0e}")


if __name__ == "__main__":
    main()
