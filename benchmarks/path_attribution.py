"""Claim: the strongest paths of real networks, exactly, in about a second on two CPU cores.

For one example, k = 20, hard gates, float32 networks (paths are computed in float64):
- FC 784-1000x5-10: at most 1 s from network and example to paths;
- C4GAP 4x128 on 32x32, ResNet-20 and VGG-16 on 32x32: time, and how it splits into the tables of
  the example (once) and the search (for each output);
- peak memory of each beside network and data, measured in a process of its own;
- what a residual network's sub-networks add: ResNet-20 one by one, ResNet-110 by size.

    python benchmarks/path_attribution.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

import dualview as dv
from dualview.architectures import c4gap, fc, resnet20, resnet110, vgg16
from dualview.path_attribution import PathSearch, ensemble_contributions, top_paths

K = 20
IMAGE = (3, 32, 32)

MODELS: dict[str, Callable[[], nn.Module]] = {
    "FC 784-1000x5-10": lambda: fc(width=1000),
    "C4GAP 4x128": c4gap,
    "ResNet-20": resnet20,
    "VGG-16": vgg16,
}


def network(make: Callable[[], nn.Module]) -> dv.GatedNetwork:
    """A DLGN with hard gates, drawn from a fixed seed."""
    torch.manual_seed(0)
    return dv.disentangle(make(), kind="dlgn", gate="hard", seed=0).eval()


def example(name: str) -> Tensor:
    """One standard normal input."""
    shape = (1, 28, 28) if name.startswith("FC") else IMAGE
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))


def best_of(call: Callable[[], object], rounds: int) -> float:
    """Shortest time of several, in seconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def time_paths(name: str, rounds: int) -> None:
    """Time `top_paths`, and the search alone once the tables are there."""
    net, x = network(MODELS[name]), example(name)
    whole = best_of(lambda: top_paths(net, x, 3, K), rounds)
    search = PathSearch(net, x)
    again = best_of(lambda: search.top(3, K), rounds)
    top = search.top(3, K)
    with torch.no_grad():
        logit = float(net(x)[0, 3])
    print(
        f"{name:20}{whole:7.2f} s for {len(top.paths)} of {top.n_paths:.3g} paths, of which the "
        f"search {again:.3f} s; total {top.total:.6g}, network's own {logit:.6g}"
    )


def time_ensemble(name: str, make: Callable[[], nn.Module], by: str, rounds: int) -> None:
    """Time the parts of a residual network's sub-networks."""
    net, x = network(make), example(name)
    seconds = best_of(lambda: ensemble_contributions(net, x, 3, by=by), rounds)  # type: ignore[arg-type]
    parts = ensemble_contributions(net, x, 3, by=by)  # type: ignore[arg-type]
    count = len(parts.members or parts.by_size)
    error = abs(float(parts.by_size.sum()) - parts.total)
    print(f"{name:20}{seconds:7.2f} s for {count} parts by {by}; sum within {error:.0e}")


def resident(field: str) -> float:
    """A memory figure of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def peak_memory(name: str) -> float:
    """Peak resident memory, in MB, that `top_paths` adds to network and data (Linux)."""
    net, x = network(MODELS[name]), example(name)
    net.gates(x)
    before = resident("VmRSS")
    top_paths(net, x, 3, K)
    return resident("VmHWM") - before


def memory_in_new_process(name: str) -> None:
    """Print `peak_memory`, measured in a process that does nothing else."""
    command = [sys.executable, str(Path(__file__)), "--memory", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    print(f"{name:20}{float(done.stdout):7.0f} MB beside network and data")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round each")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(peak_memory(options.memory))
        return
    rounds = 1 if options.quick else 5
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}, numpy {version('numpy')}, Python {platform.python_version()}"
    )
    for name in MODELS:
        time_paths(name, rounds)
    for name in MODELS:
        memory_in_new_process(name)
    time_ensemble("ResNet-20", resnet20, "member", 1)
    time_ensemble("ResNet-110", resnet110, "size", 1)


if __name__ == "__main__":
    main()
