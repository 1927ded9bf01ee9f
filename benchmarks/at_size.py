"""Claim: Images of 224 pixels and deep networks are explained in seconds, on two CPU cores.

Every job of the table `JOBS` runs in processes of its own, one after the other (`Job.processes`);
times are their medians. Peak memory is the highest of a whole process: Python, PyTorch, network
and all. Networks are untrained; those of images are those of `image_networks.py`, 224x224, one
image. Time is that of the clock; where other programs run, the processor's time beside it tells
what the job itself takes. A job that is refused, or that does not end in time, has no number. A
kernel's words of 64 channels stand beside those that the machine counts in a second, from cache and
on as many threads, measured in the same process.

    python benchmarks/at_size.py [--only JOB ...] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from image_networks import SIZE, mobilenet, resnet18, resnet50
from kernel_words import limit, words_counted, words_of_gates
from measurement import Measurement, parser_of, report, resident
from torch import Tensor, nn

import dualview as dv
from dualview.conversion.promises import Kind
from dualview.datasets import from_arrays
from dualview.errors import DualviewError

TIMEOUT = 150
"""Seconds after which a job is given up."""

OUTPUT, LAYER, DEEP = 3, 24, 48
MIDDLE = {LAYER: 7, DEEP: 3}

Task = Callable[[], object]


@dataclass(frozen=True)
class Job:
    """One job: `prepare` makes what is needed and gives the task that is measured."""

    subject: str
    quantity: str
    prepare: Callable[[], Task]
    seconds: float | None = None
    """Limit, if any."""
    megabytes: float | None = None
    """Limit, if any."""
    page: float | None = None
    """Limit in MB of the file that the task writes, if it writes one."""
    kernel_of: Callable[[], nn.Module] | None = None
    """Whose words are counted beside the time."""
    processes: int = 3
    """So many, one after the other, of which the median is told; of memory the highest."""


def image(examples: int = 1) -> Tensor:
    """Standard normal images."""
    return torch.randn(examples, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def taken_apart(model: Callable[[], nn.Module], kind: Kind) -> dv.GatedNetwork:
    """A network with hard gates, drawn from a fixed seed; libraries have loaded their code."""
    torch.manual_seed(0)
    options: dict[str, Any] = {} if kind == "dnn" else {"gate": "hard", "seed": 0}
    net = dv.disentangle(model().eval(), kind, **options).eval()
    with torch.no_grad():
        net(image())
    small = image()[:, :, :32, :32]
    dv.input_contributions(net, small, OUTPUT)
    if kind == "dlgn":
        dv.primal_filters(net, 0, small.shape[1:]).filters(0, [(0, 0)])
    return net


def contributions(model: Callable[[], nn.Module]) -> Task:
    net, x = taken_apart(model, "dnn"), image()
    return lambda: dv.layer_contributions(net, x, OUTPUT, LAYER)


def of_the_input(model: Callable[[], nn.Module]) -> Task:
    net, x = taken_apart(model, "dnn"), image()
    return lambda: dv.input_contributions(net, x, OUTPUT)


def paths(model: Callable[[], nn.Module]) -> Task:
    net, x = taken_apart(model, "dnn"), image()
    return lambda: dv.top_paths(net, x, OUTPUT, 20)


def one_filter(model: Callable[[], nn.Module], layer: int) -> Task:
    net, place = taken_apart(model, "dlgn"), [(MIDDLE[layer],) * 2]
    shape = (3, SIZE, SIZE)
    return lambda: dv.primal_filters(net, layer, shape).filters(0, place)


def channel_filters(model: Callable[[], nn.Module], layer: int) -> Task:
    net = taken_apart(model, "dlgn")
    return lambda: dv.primal_filters(net, layer, (3, SIZE, SIZE)).channel_kernels


def refusal(model: Callable[[], nn.Module], layer: int) -> Task:
    task = channel_filters(model, layer)

    def refused() -> None:
        said = "kernels larger than the image were composed"
        try:
            task()
        except DualviewError as error:
            said = str(error)
        if "larger than the image" not in said:
            raise RuntimeError(said)

    return refused


def distances(model: Callable[[], nn.Module], layer: int) -> Task:
    net, x, place = taken_apart(model, "dlgn"), image(), [(MIDDLE[layer],) * 2]
    return lambda: dv.gate_distances(net, x, layer, channels=range(8), positions=place)


def kernel_pair(model: Callable[[], nn.Module]) -> Task:
    net, x = taken_apart(model, "dnn"), image(2)
    dv.npk(net, x[:1, :, :32, :32], x[1:, :, :32, :32])  # compiled once
    return lambda: dv.npk(net, x[:1], x[1:])


def page(model: Callable[[], nn.Module]) -> Task:
    """An explanation of one image: a network of a thousand classes, and no kernel machine."""
    net = taken_apart(model, "dnn")
    pixels = torch.randint(256, (3, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(1))
    split = pixels.byte(), torch.arange(3)
    names = [str(label) for label in range(1000)]
    data = from_arrays(*split, validation=split, test=split, class_names=names)
    folder = tempfile.TemporaryDirectory()
    file = Path(folder.name) / "page.html"

    def write() -> float:
        dv.explain_page(net, data, [0], file, n_train=0)
        return file.stat().st_size / 1e6

    return write


def chain(layers: int) -> nn.Sequential:
    """Dense layers of two units."""
    parts = (part for _ in range(layers) for part in (nn.Linear(2, 2), nn.ReLU()))
    return nn.Sequential(*parts, nn.Linear(2, 1))


def conversion(layers: int, kind: Kind) -> Task:
    model = chain(layers)
    dv.disentangle(chain(2), kind, seed=0)
    return lambda: dv.disentangle(model, kind, seed=0)


class Residual(nn.Module):
    """x + W relu(x), with a gate after the addition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense, self.inner, self.outer = nn.Linear(width, width), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(n, width) -> (n, width)."""
        return self.outer(x + self.dense(self.inner(x)))


def dense_kernel(blocks: int) -> Task:
    model = nn.Sequential(
        nn.Linear(8, 16), *(Residual(16) for _ in range(blocks)), nn.Linear(16, 1)
    )
    net, x = dv.disentangle(model.double(), "dnn"), torch.randn(8, 8).double()
    return lambda: dv.npk(net, x)  # float32 does not hold the kernel of 400 blocks


def pair_of(subject: str, model: Callable[[], nn.Module]) -> Job:
    """The kernel of a pair of large images."""
    prepare = partial(kernel_pair, model)
    return Job(subject, "NPK of a pair", prepare, 2.0, 1000, kernel_of=model)


R50 = "ResNet-50, 224x224"
JOBS: dict[str, Job] = {
    "contributions": Job(
        R50, f"contributions of layer {LAYER}", partial(contributions, resnet50), 2.0, 800
    ),
    "input": Job(R50, "contributions of the input", partial(of_the_input, resnet50), 2.0, 800),
    "paths": Job(R50, "20 strongest paths", partial(paths, resnet50), 8.0),
    "filter": Job(R50, f"filter of a gate, layer {LAYER}", partial(one_filter, resnet50, LAYER), 1),
    "deep-filter": Job(
        R50, f"filter of a gate, layer {DEEP}", partial(one_filter, resnet50, DEEP), 1.0
    ),
    "channels": Job(R50, "channel filters, layer 10", partial(channel_filters, resnet50, 10)),
    "refusal": Job(
        R50,
        f"channel filters, layer {DEEP}: larger than the image",
        partial(refusal, resnet50, DEEP),
    ),
    "distances": Job(
        R50, f"distances of 8 gates, layer {LAYER}", partial(distances, resnet50, LAYER), 2.0
    ),
    "page": Job(
        R50, "explanation page of an image", partial(page, resnet50), 60.0, 2500, 10.0, processes=1
    ),
    "npk-18": pair_of("ResNet-18, 224x224", resnet18),
    "npk-50": pair_of(R50, resnet50),
    "npk-depthwise": pair_of("MobileNet, 224x224", mobilenet),
    "convert": Job("2,000 layers", "conversion, DLGN", partial(conversion, 2000, "dlgn"), 10.0),
    "convert-sf": Job(
        "2,000 layers", "conversion, DLGN-SF", partial(conversion, 2000, "dlgn-sf"), 10.0
    ),
    "blocks-100": Job("100 dense residual blocks", "NPK of 8", partial(dense_kernel, 100)),
    "blocks-400": Job("400 dense residual blocks", "NPK of 8", partial(dense_kernel, 400)),
}
"""Name -> job, in the order of the page."""


@dataclass(frozen=True)
class Taken:
    """What a job took: seconds of clock and processor, the process's peak in MB, MB it wrote.

    Of a kernel also its words of 64 channels: those of all gates, those that the kernel counts, and
    how many a second the machine counts at most.
    """

    seconds: float = math.nan
    processor: float = math.nan
    megabytes: float = math.nan
    page: float = math.nan
    gates: float = math.nan
    counted: float = math.nan
    limit: float = math.nan


def measure(job: Job) -> Taken:
    """Run a job in this process."""
    task = job.prepare()
    clock, processor = time.perf_counter(), time.process_time()
    made = task()
    seconds, used = time.perf_counter() - clock, time.process_time() - processor
    written = made if job.page is not None and isinstance(made, float) else math.nan
    taken = Taken(seconds, used, resident("VmHWM"), written)
    if job.kernel_of is None:
        return taken
    net = taken_apart(job.kernel_of, "dnn")
    return replace(taken, gates=words_of_gates(net), counted=words_counted(net), limit=limit())


def in_new_process(name: str) -> Taken:
    """`measure` in a process that does nothing else; NaN where it is refused or too slow."""
    command = [sys.executable, str(Path(__file__)), "--job", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        print(f"{name}: no end in {TIMEOUT} s", file=sys.stderr)
        return Taken()
    if done.returncode:
        print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return Taken()
    return Taken(**json.loads(done.stdout))


def in_new_processes(name: str) -> Taken:
    """The job in as many as it asks for; NaN where one of them came to nothing."""
    runs = [in_new_process(name) for _ in range(JOBS[name].processes)]
    if any(math.isnan(run.seconds) for run in runs):
        return Taken()
    middle = {key: statistics.median(vars(run)[key] for run in runs) for key in vars(runs[0])}
    return Taken(**{**middle, "megabytes": max(run.megabytes for run in runs)})


def measured(names: Iterable[str]) -> Iterator[Measurement]:
    """Time, processor time and memory of every job; and how dense blocks grow."""
    processor = {}
    for name in names:
        job, taken = JOBS[name], in_new_processes(name)
        if math.isnan(taken.seconds):
            continue  # said on standard error, with the reason
        processor[name], n = taken.processor, job.processes
        what = (job.subject, job.quantity)
        yield Measurement(*what, taken.seconds, "s", n, job.seconds)
        yield Measurement(what[0], f"{what[1]}, processor", taken.processor, "s", n)
        yield Measurement(
            what[0], f"{what[1]}, peak memory", taken.megabytes, "MB", n, job.megabytes
        )
        if job.page is not None:
            yield Measurement(what[0], f"{what[1]}, its file", taken.page, "MB", n, job.page)
        if job.kernel_of is not None:
            yield from words(*what, taken, n)
    if {"blocks-100", "blocks-400"} <= set(processor):
        ratio = processor["blocks-400"] / processor["blocks-100"]
        quantity = "processor time / that of 100 blocks"
        n = JOBS["blocks-400"].processes
        yield Measurement("400 dense residual blocks", quantity, ratio, "", n, at_most=5.0)


def words(subject: str, quantity: str, taken: Taken, n: int) -> Iterator[Measurement]:
    """A kernel's words of 64 channels, and how near their rate is to the machine's."""
    rate = taken.counted / taken.seconds
    for what, value, unit in (
        ("words of 64 channels, positions^2 of all gates", taken.gates / 1e6, "million"),
        ("words counted, windows of pools included", taken.counted / 1e6, "million"),
        ("words counted a second", rate / 1e9, "billion"),
        ("AND and popcount from cache, a second", taken.limit / 1e9, "billion"),
        ("share of that limit", 100 * rate / taken.limit, "%"),
    ):
        yield Measurement(subject, f"{quantity}, {what}", value, unit, n)


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", choices=JOBS, default=list(JOBS), help="these jobs")
    parser.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            print(json.dumps(vars(measure(JOBS[options.job]))))
        return
    report(__file__, __doc__, measured(options.only), ["numpy", "numba"], options.json)


if __name__ == "__main__":
    main()
