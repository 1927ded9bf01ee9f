"""Claim: a network is read exactly, in seconds, on two CPU cores.

- Filters: all channel filters of a DLGN, C4GAP 4x128 at 32x32 in float32, in at most 2 s and 500 MB
  beside the network, no matrix of a layer; the norms of the filters of all 131,072 gates of each
  layer; and the alternative, the dense autograd Jacobian of the 128 gates of one position.
- Paths: the 20 strongest of one example, hard gates: FC 784-1000x5-10 in at most 1 s; C4GAP,
  ResNet-20 and VGG-16 at 32x32, and how the time splits into the tables of the example (once) and
  the search (for each output). Paths are computed in float64.
- What a residual network's sub-networks add: ResNet-20 one by one, ResNet-110 by size.
- Page: `dualview explore` of a run, bytes (at most 15 MB for 200 examples) and seconds.

Memory is the peak beside network and data, measured in a process of its own (Linux).

    python benchmarks/explain.py [--quick] [--page RUN [DATA]] [--examples N] [--json FILE]

`--page` may be given several times; DATA is as `dualview explore --data` takes it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from measurement import Measurement, best_of, parser_of, report, resident
from torch import Tensor, nn

import dualview as dv
from dualview.architectures import c4gap, fc, resnet20, resnet110, vgg16

K, OUTPUT = 20, 3
IMAGE = (3, 32, 32)

MODELS: dict[str, Callable[[], nn.Module]] = {
    "FC 784-1000x5-10": lambda: fc(width=1000),
    "C4GAP 4x128": c4gap,
    "ResNet-20": resnet20,
    "VGG-16": vgg16,
    "ResNet-110": resnet110,
}
SEARCHED = tuple(MODELS)[:4]
FILTERED = "C4GAP 4x128"
PATH_SECONDS = {"FC 784-1000x5-10": 1.0}
"""Network -> most seconds for its strongest paths."""


def network(name: str) -> dv.GatedNetwork:
    """A DLGN with hard gates, drawn from a fixed seed."""
    torch.manual_seed(0)
    return dv.disentangle(MODELS[name](), kind="dlgn", gate="hard", seed=0).eval()


def example(name: str) -> Tensor:
    """One standard normal input."""
    shape = (1, 28, 28) if name.startswith("FC") else IMAGE
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))


# ---------------------------------------------------------------------------------------- filters


def channel_filters(net: dv.GatedNetwork, layer: int) -> Tensor:
    """Composed kernels of all channels."""
    return dv.primal_filters(net, layer).channel_kernels


def norms(net: dv.GatedNetwork, layer: int) -> Tensor:
    """Norms of the filters of all gates, border included."""
    return dv.primal_filters(net, layer).norms


def dense_jacobian(net: dv.GatedNetwork, layer: int, place: int = 0) -> Tensor:
    """Filters of all channels at (place, place) by the dense autograd Jacobian."""
    x = torch.zeros(1, *IMAGE)
    jacobian = torch.func.jacrev(lambda x: net.preactivations(x)[layer][0, :, place, place])(x)
    return jacobian[:, 0].detach()


READINGS: dict[str, Callable[[dv.GatedNetwork, int], Tensor]] = {
    "channel filters": channel_filters,
    "norms of all gates": norms,
    "jacrev, one position": dense_jacobian,
}


def time_filters(rounds: int) -> Iterator[Measurement]:
    """Time every reading of every layer, and compare the last one with the dense Jacobian."""
    net = network(FILTERED)
    with torch.no_grad():
        net(example(FILTERED))  # libraries load their code at the first convolution
    bounds = {"channel filters": 2.0}
    for name, read in READINGS.items():
        seconds = [best_of(partial(read, net, i), rounds) for i in range(net.n_gates)]
        quantity = f"{name}, {net.n_gates} layers, sum of shortest"
        yield Measurement(FILTERED, quantity, sum(seconds), "s", rounds, bounds.get(name))
    inside, corner = deviations(net, net.n_gates - 1)
    yield Measurement(FILTERED, "kernels, deviation from jacrev, middle", inside, "", 1)
    yield Measurement(FILTERED, "norms, deviation from jacrev, corner", corner, "", 1)


def deviations(net: dv.GatedNetwork, layer: int) -> tuple[float, float]:
    """Of composed kernels in the middle, and of norms at the corner."""
    found, middle = dv.primal_filters(net, layer), IMAGE[1] // 2
    exact = dense_jacobian(net, layer, middle)
    placed = torch.zeros_like(exact)
    (top, left), kernels = found.origin((middle, middle)), found.channel_kernels
    rows, columns = kernels.shape[2:]
    placed[:, :, top : top + rows, left : left + columns] = kernels
    error = float((placed - exact).abs().max() / exact.abs().max())
    lengths = dense_jacobian(net, layer).flatten(1).norm(dim=1)
    return error, float(((found.norms[:, 0, 0] - lengths) / lengths).abs().max())


# ------------------------------------------------------------------------------------------ paths


def time_paths(name: str, rounds: int) -> Iterator[Measurement]:
    """Time `top_paths`, and the search alone once the tables are there."""
    net, x = network(name), example(name)
    whole = best_of(lambda: dv.top_paths(net, x, OUTPUT, K), rounds)
    search = dv.PathSearch(net, x)
    again = best_of(lambda: search.top(OUTPUT, K), rounds)
    top = search.top(OUTPUT, K)
    with torch.no_grad():
        logit = float(net(x)[0, OUTPUT])
    found = f"{len(top.paths)} strongest of {top.n_paths:.3g} paths"
    yield Measurement(name, f"{found}, shortest", whole, "s", rounds, PATH_SECONDS.get(name))
    yield Measurement(name, "of which the search, shortest", again, "s", rounds)
    error = abs(float(top.total) / logit - 1)
    yield Measurement(name, "sum of paths, deviation from the logit", error, "", 1)


def time_ensemble(name: str, by: Literal["member", "size"]) -> Iterator[Measurement]:
    """Time the parts of a residual network's sub-networks."""
    net, x = network(name), example(name)
    start = time.perf_counter()
    parts = dv.ensemble_contributions(net, x, OUTPUT, by=by)
    seconds = time.perf_counter() - start
    count = len(parts.members or parts.by_size)
    error = abs(float(parts.by_size.sum()) - parts.total)
    yield Measurement(name, f"{count} parts by {by}", seconds, "s", 1)
    yield Measurement(name, f"sum of parts by {by}, absolute deviation", error, "", 1)


# ----------------------------------------------------------------------------------------- memory


def peak_memory(task: str, name: str) -> float:
    """Peak resident memory, in MB, that a task adds to network and example."""
    net, x = network(name), example(name)
    with torch.no_grad():
        net(x)
    before = resident("VmRSS")
    if task == "paths":
        dv.top_paths(net, x, OUTPUT, K)
    else:
        for layer in range(net.n_gates):
            READINGS[task](net, layer)
    return resident("VmHWM") - before


def memory_in_new_process(task: str, name: str) -> Measurement:
    """`peak_memory`, measured in a process that does nothing else."""
    command = [sys.executable, str(Path(__file__)), "--memory", task, name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    bounds = {"channel filters": 500.0}
    quantity = f"{task}, memory beside network and data"
    return Measurement(name, quantity, float(done.stdout), "MB", 1, bounds.get(task))


# ------------------------------------------------------------------------------------------- page


def time_page(run: str, data: str | None, count: int) -> Iterator[Measurement]:
    """Write the explorer's page of a run, by the command, and weigh it."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "explorer.html"
        command = [sys.executable, "-m", "dualview.cli", "explore", run, "--out", str(page)]
        command += ["--examples", str(count), *(["--data", data] if data else [])]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        size = page.stat().st_size
    name = Path(run).name + (f" on {Path(data).name}" if data else "")
    yield Measurement(name, f"page of {count} examples", size / 1e6, "MB", 1, at_most=15.0)
    yield Measurement(name, f"page of {count} examples", seconds, "s", 1)


def measured(options: argparse.Namespace) -> Iterator[Measurement]:
    """All of it, in the order of the claims."""
    rounds = 1 if options.quick else 3
    yield from time_filters(rounds)
    for task in list(READINGS)[:2]:
        yield memory_in_new_process(task, FILTERED)
    for name in SEARCHED:
        yield from time_paths(name, rounds)
    for name in SEARCHED:
        yield memory_in_new_process("paths", name)
    yield from time_ensemble("ResNet-20", "member")
    yield from time_ensemble("ResNet-110", "size")
    for run, *data in options.page:
        yield from time_page(run, data[0] if data else None, options.examples)


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--quick", action="store_true", help="one round each")
    parser.add_argument(
        "--page",
        nargs="+",
        action="append",
        default=[],
        metavar=("RUN", "DATA"),
        help="page of a run",
    )
    parser.add_argument("--examples", type=int, default=200, metavar="N", help="on the page")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(peak_memory(*options.memory))
        return
    if any(len(page) > 2 for page in options.page):
        parser.error("--page: expected a run's folder, and its data where they are not digits")
    report(__file__, __doc__, measured(options), ["numpy"], options.json)


if __name__ == "__main__":
    main()
