"""Claim: no function holds more than its `memory`, on any graph, or ends in the allocator's error.

Kernels, features, filters, distances, paths and contributions of small networks of every kind, on
images of 96 and 224 pixels, each kind in a process of its own that may not have more than a few GB.
What is measured is the peak that a call adds, without its result. What is refused adds little: it
is said before anything is computed. A call that dies has no number, and its reason is printed.

Piece by piece, `--kept FOLDER` keeps what each process has measured, and what lies there from the
same commit is not measured again.

    python benchmarks/memory_bound.py [--only KIND ...] [--sizes 96 224] [--kept FOLDER]
        [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from image_networks import convolution, depthwise_separable, image_resnet
from measurement import Measurement, parser_of, report, resident
from torch import Tensor, nn

import dualview as dv
from dualview.architectures import build
from dualview.conversion.promises import Kind
from dualview.errors import DualviewError
from dualview.experiments.records import provenance
from dualview.files.writing import read_json, write_json

MEMORY, SLACK = 200e6, 60e6
"""Bytes that a call may hold; and of libraries that load their code, and convolutions' own."""
ADDRESSES = 6e9
"""Bytes of addresses that a process may have: more than that is the allocator's error."""
SECONDS = 90
"""After which a call is given up."""
REASON = 200
"""Letters of why a call is refused, or dies."""


class Joined(nn.Module):
    """What went in, and what some layers make of it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c + more, h, w)."""
        return torch.cat([x, self.layers(x)], 1)


def ended(*layers: nn.Module, channels: int) -> nn.Module:
    """Layers, the mean over positions, five classes."""
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5))


def plain(size: int) -> nn.Module:
    """Convolutions with strides and no skips."""
    return ended(
        *convolution(3, 16, 5, 2), nn.ReLU(), *convolution(16, 16, 3), nn.ReLU(),
        *convolution(16, 32, 3, 2), nn.ReLU(), *convolution(32, 32, 3), nn.ReLU(), channels=32,
    )  # fmt: skip


def pooled(size: int) -> nn.Module:
    """A max pool before identity skips."""
    return image_resnet((1, 1, 1, 1), bottleneck=False, width=16, classes=5)


def residual(size: int) -> nn.Module:
    """Bottlenecks."""
    return image_resnet((1, 2, 1, 1), bottleneck=True, width=8, classes=5)


def dense(size: int) -> nn.Module:
    """Layers that read all before them, an average pool between."""
    first = [Joined(*convolution(16 + 8 * i, 8, 3), nn.ReLU()) for i in range(3)]
    second = [Joined(*convolution(20 + 8 * i, 8, 3), nn.ReLU()) for i in range(3)]
    return ended(
        *convolution(3, 16, 7, 4), nn.ReLU(), *first, *convolution(40, 20, 1), nn.ReLU(),
        nn.AvgPool2d(2), *second, channels=44,
    )  # fmt: skip


def grouped(size: int) -> nn.Module:
    """Depthwise layers, then groups and a shuffle."""
    group = nn.Conv2d(32, 32, 3, padding=1, groups=4)
    return ended(
        *convolution(3, 16, 3, 2), nn.ReLU(), *depthwise_separable(16, 32, 1),
        *depthwise_separable(32, 32, 2), nn.ChannelShuffle(4), group, nn.ReLU(), channels=32,
    )  # fmt: skip


def transformer(size: int) -> nn.Module:
    """A small vision transformer, of patches of patches."""
    side = size // 8
    vit = build("vit", num_classes=5, input_shape=(8, side, side), width=16)
    return nn.Sequential(nn.Conv2d(3, 8, 8, 8), vit)


GATES: tuple[Literal["hard", "soft"], ...] = ("hard", "soft")

KINDS: dict[str, Callable[[int], nn.Module]] = {
    "plain": plain,
    "pooled stem": pooled,
    "bottlenecks": residual,
    "concatenation": dense,
    "depthwise, groups": grouped,
    "transformer": transformer,
}


def calls(kind: str, size: int) -> dict[str, Callable[[], object]]:
    """The functions that promise a bound, ready to be called."""
    torch.manual_seed(0)
    model = KINDS[kind](size).eval()
    of: Kind = "dgn" if kind == "transformer" else "dlgn"
    net, soft = (dv.disentangle(model, of, gate=g, seed=0).eval() for g in GATES)
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    a, b, shape, last = x[:1], x[1:], x.shape[1:], net.n_gates - 1
    memory: dict[str, Any] = {"memory": MEMORY}
    return {
        "npk": lambda: dv.npk(net, a, b, **memory),
        "npk, soft gates": lambda: dv.npk(soft, a, b, **memory),
        "npk, biases": lambda: dv.npk(net, a, b, biases=True, batch_norm="scale", **memory),
        "expected_ntk": lambda: dv.expected_ntk(net, a, b, biases=True, **memory),
        "npk_features": lambda: dv.npk_features(net, x, 16, **memory),
        "filters": lambda: dv.primal_filters(net, last, shape, **memory).filters(0),
        "channel filters": lambda: dv.primal_filters(net, 0, shape, **memory).channel_kernels,
        "gate_distances": lambda: dv.gate_distances(net, a, last, channels=range(4), **memory),
        "top_paths": lambda: dv.top_paths(net, a, 1, 5, **memory),
        "top_path_groups": lambda: dv.top_path_groups(net, a, 1, 5, **memory),
        "layer_contributions": lambda: dv.layer_contributions(net, a, 1, last, **memory),
        "input_contributions": lambda: dv.input_contributions(net, a, 1, **memory),
    }


def added(call: Callable[[], Any]) -> dict[str, Any]:
    """Peak in MB that a call adds beside its result; what it says if it is refused, or dies."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start, said, died, own = resident("VmRSS"), time.perf_counter(), "", "", 0.0
    signal.alarm(SECONDS)
    try:
        result = call()
        own = float(getattr(result, "nbytes", 0)) / 1e6
    except DualviewError as error:
        said = str(error)
    except (Exception, TimeoutError) as error:  # the allocator's is what is looked for
        died = f"{type(error).__name__}: {error}"
    signal.alarm(0)
    seconds = time.perf_counter() - start
    held = resident("VmHWM") - before - own
    return {"held": held, "said": said, "died": died, "seconds": seconds}


def raised(number: int, frame: Any) -> None:
    """A call takes too long."""
    raise TimeoutError(f"no end in {SECONDS} s")


def measure(kind: str, size: int) -> None:
    """Print what every function adds, a line each; the small calls before load what is loaded."""
    signal.signal(signal.SIGALRM, raised)
    small = 32 if kind != "transformer" else size
    for name, call in calls(kind, small).items():
        if kind != "transformer" or name.startswith("layer"):
            added(call)
    tasks = calls(kind, size)
    resource.setrlimit(resource.RLIMIT_AS, (int(ADDRESSES), int(ADDRESSES)))
    for name, call in tasks.items():
        print(json.dumps({"name": name, **added(call)}), flush=True)


def kept_or_measured(kind: str, size: int, folder: Path | None) -> list[dict[str, Any]]:
    """What was measured before at this commit, if a folder of that is given; else it is now."""
    if folder is None:
        return in_new_process(kind, size)
    words = (provenance("cpu").commit, *kind.replace(",", "").split(), str(size))
    file = folder / f"{'-'.join(words)}.json"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(file, {"found": in_new_process(kind, size)})
    found: list[dict[str, Any]] = read_json(file)["found"]
    return found


def in_new_process(kind: str, size: int) -> list[dict[str, Any]]:
    """`measure` in a process that does nothing else."""
    command = [sys.executable, str(Path(__file__)), "--kind", kind, "--sizes", str(size)]
    returned = {
        **os.environ,
        "MALLOC_MMAP_THRESHOLD_": "65536",
    }  # memory that is freed is given back
    done = subprocess.run(command, capture_output=True, text=True, env=returned)
    if done.returncode:
        print(f"{kind}, {size}: {done.stderr.strip()[-500:]}", file=sys.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def measured(
    kinds: Sequence[str], sizes: Sequence[int], folder: Path | None
) -> Iterator[Measurement]:
    """What each call adds, with its bound."""
    for size in sizes:
        for kind in kinds:
            for found in kept_or_measured(kind, size, folder):
                name, held = found["name"], found["held"]
                reason = found["died"] or found["said"]
                if reason:
                    print(f"{kind}, {size}, {name}: {reason[:REASON]}", file=sys.stderr)
                if found["died"]:
                    held = math.nan
                if found["said"]:
                    name += ", refused"
                bound = (MEMORY + SLACK) / 1e6
                yield Measurement(f"{kind}, {size}x{size}", name, held, "MB", 1, at_most=bound)


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), help="these kinds")
    parser.add_argument("--sizes", nargs="+", type=int, default=[96, 224], help="of the images")
    parser.add_argument("--kept", type=Path, metavar="FOLDER", help="of what is measured already")
    parser.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.kind:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            measure(options.kind, options.sizes[0])
        return
    found = measured(options.only, options.sizes, options.kept)
    report(__file__, __doc__, found, ["numpy", "numba"], options.json)


if __name__ == "__main__":
    main()
