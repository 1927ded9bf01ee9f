"""The spectrum experiment on functions: jobs that fit sines of growing frequency.

One job is one network of one seed, fitted to all frequencies at once. Measurements of its record:
"dimension"; "frequencies" (f of them) and the "variance" of each target; "epoch" (when it was
measured), "train_mse" and "test_mse", a row of f numbers for each of these; and of a DLGN's gates,
before training ("..._initial") and after it (for each frequency):

- "gate_slope": for each layer the quartiles of |dq / dx| over the units, with x in [0, 1]^d;
- "gates_inside": for each layer the share of units whose gate changes somewhere in [0, 1]^d;
- "gate_angles", in two dimensions: how the directions of all units' gradients spread over
  `ANGLES` equal parts of 180 degrees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.experiments.experiment import Request
from dualview.experiments.jobs import Job, cost, measured_record
from dualview.experiments.networks import count_parameters
from dualview.experiments.records import RunRecord
from dualview.experiments.spectrum.filters import affine_gates
from dualview.experiments.spectrum.networks import function_network
from dualview.experiments.spectrum.regression import Course, Fit, Weights, fit
from dualview.experiments.spectrum.targets import target, unseen_points
from dualview.experiments.summary import kind_name
from dualview.training import TrainSettings, Watcher, cpu_threads

FORMULAS: Mapping[int, str] = {1: "sin(2πkx)", 2: "sin(2πkx₁) sin(2πkx₂)"}
"""How records name the targets, by the numbers they take."""

ANGLES = 8
QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Line:
    """The targets of one dimension, and how long they are learnt."""

    frequencies: tuple[int, ...]
    side: int
    """Train points along each axis."""
    epochs: int


@dataclass(frozen=True)
class FunctionPreset:
    """Size and settings; the same for every kind of network."""

    lines: Mapping[int, Line]
    """By dimension."""
    seeds: int = 3
    width: int = 64
    depth: int = 5
    """Weight layers."""
    beta: float = 4.0
    batch_size: int = 256
    learning_rate: float = 2e-3
    threads: int | None = None


CPU_PRESET = FunctionPreset(
    {1: Line((1, 2, 4, 8, 16, 32), 1024, 600), 2: Line((1, 2, 4, 8), 64, 125)}, threads=1
)
PAPER_PRESET = FunctionPreset(
    {1: Line((1, 2, 4, 8, 16, 32, 64), 4096, 1000), 2: Line((1, 2, 4, 8, 16), 128, 250)},
    seeds=5,
    width=256,
)
"""Larger; the question was left open, so no settings of it are published."""


@dataclass(frozen=True)
class _Job:
    """One network of one seed, and its targets."""

    kind: str
    task: Fit
    preset: FunctionPreset
    width: int
    config: dict[str, Any] = field(default_factory=dict)

    def network(self) -> nn.Module:
        """Untrained."""
        return function_network(
            self.kind,
            self.task.seed,
            dimension=self.task.dimension,
            width=self.width,
            depth=self.preset.depth,
            beta=self.preset.beta,
        )

    def perform(self, folder: Path, watcher: Watcher) -> RunRecord:
        """Fit and measure."""
        net = self.network()
        initial = gate_measurements(net, self.task.dimension, "_initial")
        parameters, course = fit(net, self.task, folder, watcher)
        gates = _trained_gates(net.cpu(), parameters, self.task)
        return _record(self, course, {**initial, **gates}, count_parameters(net))


def function_jobs(
    preset: FunctionPreset, kinds: Sequence[str], seed: int, request: Request, out: Path
) -> list[Job]:
    """The jobs of one seed: every kind of network for each dimension."""
    machine = request.applied(TrainSettings(threads=preset.threads))
    jobs = []
    for dimension, line in preset.lines.items():
        task = Fit(
            dimension,
            line.frequencies,
            line.side,
            request.epochs or line.epochs,
            preset.batch_size,
            preset.learning_rate,
            seed,
            cpu_threads(machine),
            _device(machine.accelerator),
        )
        for kind in kinds:
            jobs.append(_job(kind, task, preset, request.width or preset.width, out))
    return jobs


def _job(kind: str, task: Fit, preset: FunctionPreset, width: int, out: Path) -> Job:
    config = {
        "experiment": "spectrum",
        "part": "functions",
        "data": FORMULAS[task.dimension],
        "arch": "fc",
        "width": width,
        "depth": preset.depth,
        "kind": kind,
        "beta": preset.beta if kind != "dnn" else None,
        **asdict(task),
        "frequencies": list(task.frequencies),
    }
    made = _Job(kind, task, preset, width, config)
    multiplications = len(task.frequencies) * (preset.depth - 2) * width**2
    return Job(
        kind,
        task.seed,
        out / f"{task.dimension}d-{kind}-seed{task.seed}",
        config,
        cost(kind) * task.epochs * task.side**task.dimension * multiplications,
        f"{task.dimension}-D functions, {kind_name(kind)}, seed {task.seed}",
        made.perform,
        len(task.frequencies) * count_parameters(made.network()),
    )


def _device(accelerator: str) -> str:
    """Where the vectorised pass runs: a GPU where one was asked for or is there, else the CPU."""
    wanted = accelerator in ("auto", "gpu", "cuda")
    return "cuda" if wanted and torch.cuda.is_available() else "cpu"


def _record(job: _Job, course: Course, gates: Mapping[str, Any], parameters: int) -> RunRecord:
    task = job.task
    lost = [
        k
        for k, mse in zip(task.frequencies, course.test_mse[-1], strict=True)
        if not math.isfinite(mse)
    ]
    y = target(unseen_points(task.dimension, task.side), task.frequencies)
    return measured_record(
        job.config,
        {
            "dimension": task.dimension,
            "frequencies": list(task.frequencies),
            "variance": y.var(1, unbiased=False).tolist(),
            "epoch": course.epochs,
            "train_mse": [[_finite(mse) for mse in row] for row in course.train_mse],
            "test_mse": [[_finite(mse) for mse in row] for row in course.test_mse],
            **gates,
        },
        n_train=task.side**task.dimension,
        n_test=task.side**task.dimension,
        parameters=parameters,
        seconds=course.seconds,
        message=f"the error at the frequencies {lost} is not finite" if lost else "",
        device=task.device,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


# ----------------------------------------------------------------------------------- a DLGN's gates


def _trained_gates(net: nn.Module, parameters: Weights, task: Fit) -> dict[str, Any]:
    """The gates of each frequency's network, entry by entry; nothing where one has none to tell."""
    taken = []
    for place in range(len(task.frequencies)):
        with torch.no_grad():
            for name, p in net.named_parameters():
                p.copy_(parameters[name][place])
        taken.append(gate_measurements(net, task.dimension, ""))
    return {name: [entry[name] for entry in taken] for name in taken[0]} if all(taken) else {}


def gate_measurements(net: nn.Module, dimension: int, ending: str) -> dict[str, Any]:
    """What the module's docstring lists, of one network; empty if it is no DLGN, or not finite."""
    if not (isinstance(net, GatedNetwork) and net.kind == "dlgn"):
        return {}
    # Networks read u = 2 x - 1, so dq/dx = 2 dq/du, and u is in [-1, 1]^d.
    layers = [(2 * slope, slope, constant) for slope, constant in affine_gates(net, dimension)]
    slopes = [by_x.norm(dim=1) for by_x, _, _ in layers]
    if not all(bool(slope.isfinite().all()) for slope in slopes):
        return {}
    taken: dict[str, Any] = {
        "gate_slope": [torch.quantile(s, s.new_tensor(QUARTILES)).tolist() for s in slopes],
        "gates_inside": [_share_inside(by_u, constant) for _, by_u, constant in layers],
    }
    if dimension == 2:
        taken["gate_angles"] = angle_shares(torch.cat([by_x for by_x, _, _ in layers]))
    return {name + ending: value for name, value in taken.items()}


def _share_inside(slope: Tensor, constant: Tensor) -> float:
    """Share of units with q = 0 somewhere in [-1, 1]^d: the reach of <F, u> is |F|_1."""
    return float((constant.abs() <= slope.abs().sum(1)).double().mean())


def angle_shares(gradients: Tensor) -> list[float]:
    """Shares of directions, (n, 2), in `ANGLES` equal parts of 180 degrees, from the first axis on.

    >>> angle_shares(torch.tensor([[1.0, 0.01], [-1.0, -0.01]]))[0]
    1.0
    """
    angle = torch.atan2(gradients[:, 1], gradients[:, 0]) % math.pi
    part = (angle / math.pi * ANGLES).long().clamp(max=ANGLES - 1)
    return (part.bincount(minlength=ANGLES) / len(part)).tolist()
