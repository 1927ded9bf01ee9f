"""Properties proved here.

1. Every kind of network is fitted in each dimension, with the same options but for the gates'.
2. A record holds the course, the variances of the targets and the options; the numbers of a resumed
   job equal those of an uninterrupted one.
3. The measured gates are those of networks with the trained parameters: slopes against a derivative
   by differences, shares of gates that change inside against a fine grid, angles by hand.
4. A fit whose error is not finite is recorded as diverged, naming the frequency.
"""

import dataclasses
import math

import pytest
import torch

from dualview.experiments.experiment import Machine, Request
from dualview.experiments.running import run_jobs
from dualview.experiments.spectrum import functions as spectrum_functions
from dualview.experiments.spectrum.functions import (
    ANGLES,
    FunctionPreset,
    Line,
    angle_shares,
    function_jobs,
    gate_measurements,
)
from dualview.experiments.spectrum.networks import function_network
from dualview.experiments.spectrum.regression import Course
from dualview.training import Unwatched
from tests.experiments.small import exact

PRESET = FunctionPreset(
    {1: Line((1, 2), 24, 6), 2: Line((1, 2, 3), 5, 4)}, seeds=1, width=6, depth=4, batch_size=8
)
KINDS = ("dnn", "dgn", "dlgn")
REQUEST = Request(machine=Machine(accelerator="cpu", threads=1))


def _jobs(out, preset=PRESET, request=REQUEST):
    return function_jobs(preset, KINDS, 0, request, out)


def test_jobs(tmp_path):
    jobs = _jobs(tmp_path)
    assert [(job.kind, job.config["dimension"]) for job in jobs] == [
        (kind, dimension) for dimension in (1, 2) for kind in KINDS
    ]
    assert len({job.folder for job in jobs}) == 6
    options = [
        {k: v for k, v in job.config.items() if k not in ("kind", "beta")} for job in jobs[:3]
    ]
    assert options[0] == options[1] == options[2]
    assert [job.config["beta"] for job in jobs[:3]] == [None, 4.0, 4.0]
    asked = _jobs(tmp_path, request=dataclasses.replace(REQUEST, epochs=2, width=3))
    assert {(job.config["epochs"], job.config["width"]) for job in asked} == {(2, 3)}


def test_records(tmp_path):
    records = run_jobs(_jobs(tmp_path), tmp_path)
    for record in records:
        taken, n = record.measurements, record.n_train
        assert (record.status, record.test_accuracy, record.curve) == ("finished", None, ())
        assert taken["epoch"][0] == 0
        assert taken["epoch"][-1] == record.epochs
        for name in ("train_mse", "test_mse"):
            rows = taken[name]
            assert len(rows) == len(taken["epoch"])
            assert {len(row) for row in rows} == {len(taken["frequencies"])}
        # Sines have mean square 1/2 along each axis where no period is cut.
        assert taken["variance"] == pytest.approx([0.5 ** taken["dimension"]] * len(rows[0]))
        assert n == record.n_test == {1: 24, 2: 25}[taken["dimension"]]
        assert ("gate_slope" in taken) == (record.kind == "dlgn")
    assert exact(run_jobs(_jobs(tmp_path / "again"), tmp_path / "again")) == exact(
        [dataclasses.replace(record) for record in records]
    )


class _Stop(BaseException):
    """Like a signal."""


class _Interrupts(Unwatched):
    def __init__(self, steps):
        self.steps = steps

    def stepped(self):
        self.steps -= 1
        if self.steps == 0:
            raise _Stop


@pytest.mark.parametrize("steps", [2, 8])
def test_resumed(tmp_path, steps):
    job, whole = _jobs(tmp_path / "a")[5], _jobs(tmp_path / "b")[5]
    for one in (job, whole):
        one.folder.mkdir(parents=True)
    with pytest.raises(_Stop):
        job.perform(job.folder, _Interrupts(steps))
    resumed = job.perform(job.folder, Unwatched())
    assert exact([resumed]) == exact([whole.perform(whole.folder, Unwatched())])
    assert len(resumed.measurements["gate_slope"]) == 3


@pytest.mark.parametrize("dimension", [1, 2])
def test_gates_by_differences(dimension):
    net = function_network("dlgn", 0, dimension=dimension, width=9, depth=3, beta=4.0).double()
    taken = gate_measurements(net, dimension, "")
    axis = torch.linspace(0, 1, 2001 if dimension == 1 else 301, dtype=torch.float64)
    x = torch.cartesian_prod(*[axis] * dimension).reshape(-1, dimension)
    step = 1e-3
    for layer, q in enumerate(net.preactivations(2 * x - 1)):
        changes = (q.amin(0) <= 0) & (q.amax(0) >= 0)
        assert taken["gates_inside"][layer] == pytest.approx(changes.double().mean().item())
        origin = torch.full((1, dimension), 0.3, dtype=torch.float64)
        moved = torch.cat([origin, origin + step * torch.eye(dimension, dtype=torch.float64)])
        values = net.preactivations(2 * moved - 1)[layer]
        slope = ((values[1:] - values[0]) / step).norm(dim=0)
        expected = [torch.quantile(slope, q).item() for q in (0.25, 0.5, 0.75)]
        assert taken["gate_slope"][layer] == pytest.approx(expected)
    assert ("gate_angles" in taken) == (dimension == 2)


def test_angles_by_hand():
    degrees = torch.tensor([1.0, 91.0, 100.0, 179.0, 181.0, 350.0])
    gradients = torch.stack([(degrees * math.pi / 180).cos(), (degrees * math.pi / 180).sin()], 1)
    shares = [0.0] * ANGLES
    for part in (0, 4, 4, 7, 0, 7):  # 22.5 degrees each
        shares[part] += 1 / 6
    assert angle_shares(gradients) == pytest.approx(shares)


@pytest.mark.parametrize("kind", ["dnn", "dgn"])
def test_gates_that_are_not_affine(kind):
    net = function_network(kind, 0, dimension=1, width=4, depth=3, beta=4.0)
    assert gate_measurements(net, 1, "") == {}


def test_divergence(tmp_path, monkeypatch):
    def fails(net, task, folder, watcher):
        parameters = {
            name: p.detach().expand(2, *p.shape).clone() for name, p in net.named_parameters()
        }
        for p in parameters.values():
            p[1] = math.nan
        return parameters, Course([0], [[0.5, math.nan]], [[0.5, math.inf]], 1.0)

    monkeypatch.setattr(spectrum_functions, "fit", fails)
    record = run_jobs(_jobs(tmp_path)[2:3], tmp_path)[0]
    assert record.status == "diverged"
    assert "[2]" in record.message
    assert record.measurements["test_mse"] == [[0.5, None]]
    assert "gate_slope" not in record.measurements
