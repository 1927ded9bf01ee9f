"""Properties:
- seeds trained in one pass leave the folders and records of single runs, and are read back;
- what was interrupted goes on, to the bit, also when it stops between two records;
- gates of FLNPF are those of the ReLU network trained before, with stacks and with single runs;
- where that network diverged, FLNPF is recorded as diverged, and other seeds go on;
- the time left is given to the job that works for all;
- what was measured on examples that were trained on is left out;
- other settings in the same folder are refused.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dualview.errors import RunError
from dualview.experiments.jobs import Job, Silent
from dualview.experiments.npk_paper import (
    FrozenGates,
    RegimeSetting,
    all_for_training,
    drawn,
    load_trained,
    unnormalised,
)
from dualview.experiments.progress import TerminalProgress
from dualview.experiments.published import REGIMES
from dualview.experiments.records import RunRecord
from dualview.experiments.regimes.jobs import network_of, regime_jobs
from dualview.experiments.running import run_jobs
from dualview.training import CHECKPOINT, METRICS, MODEL, TrainSettings, Unwatched
from tests.experiments.small import exact, parameters
from tests.training.tiny import tiny_data

DATA = unnormalised(tiny_data())
TRAINING = TrainSettings(
    epochs=2,
    batch_size=8,
    learning_rate=0.01,
    schedule="constant",
    accelerator="cpu",
    threads=1,
    tensorboard=False,
)


def setting(arch: str = "fc", **changes: Any) -> RegimeSetting:
    def training(seed: int) -> TrainSettings:
        return dataclasses.replace(TRAINING, seed=seed)

    plain = RegimeSetting("regimes", arch, 4, DATA, True, training, 2)
    return dataclasses.replace(plain, **changes)


def done(out: Path, regimes: tuple[str, ...] = REGIMES, **changes: Any) -> list[RunRecord]:
    return run_jobs(regime_jobs(setting(**changes), regimes, out), out)


@pytest.mark.parametrize("arch", ["fc", "gconv"])
def test_records_and_folders(arch: str, tmp_path: Path) -> None:
    records = done(tmp_path, arch=arch)
    assert len(records) == 10
    for record in records:
        folder = tmp_path / f"{arch}-adam-{record.kind}-seed{record.seed}"
        assert {path.name for path in folder.iterdir()} == {
            "config.json",
            METRICS,
            MODEL,
            "record.json",
        }
        assert (record.status, len(record.curve), record.seed) == (
            "finished",
            2,
            record.config["seed"],
        )
    if arch == "fc":
        assert {record.measurements["seeds_in_one_pass"] for record in records} == {2}
    assert done(tmp_path, arch=arch) == records


class StopAt(Silent):
    """Raises at the n-th call of something."""

    def __init__(self, what: str, number: int) -> None:
        self.what = what
        self.left = number

    def count(self, what: str) -> None:
        self.left -= what == self.what
        if self.left == 0:
            raise KeyboardInterrupt

    def watcher(self, job: Job) -> Unwatched:
        stop: Callable[[str], None] = self.count

        class Watching(Unwatched):
            def stepped(self) -> None:
                stop("step")

        return Watching()

    def done(self, job: Job, record: RunRecord) -> None:
        self.count("record")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[RunRecord]]:
    """All regimes done without interruption: where, and the records."""
    out = tmp_path_factory.mktemp("whole")
    return out, done(out)


@pytest.mark.parametrize(
    ("what", "number"), [("step", 3), ("step", 8), ("step", 43), ("record", 3)]
)
def test_interrupted_and_gone_on(
    what: str, number: int, whole: tuple[Path, list[RunRecord]], tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        run_jobs(regime_jobs(setting(), REGIMES, cut), cut, progress=StopAt(what, number))
    records = done(cut)
    for mine, theirs in zip(exact(records), exact(whole[1]), strict=True):
        assert dataclasses.replace(mine, measurements={}) == dataclasses.replace(
            theirs, measurements={}
        )
    assert parameters(cut) == parameters(whole[0])


@pytest.mark.parametrize("arch", ["fc", "gconv"])
def test_flnpf_has_the_trained_gates(arch: str, tmp_path: Path) -> None:
    done(tmp_path, ("flnpf",), arch=arch)
    one = setting(arch)
    for seed in range(2):
        relu = drawn(one.draw, seed)
        load_trained(relu, one.folder(tmp_path, "relu", seed) / MODEL)
        path = one.folder(tmp_path, "relu", seed) / MODEL
        net = network_of(one, "flnpf", seed, path)
        load_trained(net, one.folder(tmp_path, "flnpf", seed) / MODEL)
        assert isinstance(net, FrozenGates)
        own = relu.state_dict()
        for name, value in net.gating_network.state_dict().items():
            assert torch.equal(value, own[name])
        x = DATA.test.images.double() / 255
        relu, net = relu.double(), net.double()
        for gates in net.gates(x):
            relu_layers = [layer for layer in relu if isinstance(layer, torch.nn.ReLU)]
            assert len(relu_layers) == net.n_gates
            assert set(gates.unique().tolist()) <= {0.0, 1.0}
        z, found = x, []
        for layer in relu:
            if isinstance(layer, torch.nn.ReLU):
                found.append((z > 0).double())
            z = layer(z)
        assert all(torch.equal(a, b) for a, b in zip(net.gates(x), found, strict=True))


@pytest.mark.parametrize("arch", ["fc", "gconv"])
def test_flnpf_of_a_diverged_network(arch: str, tmp_path: Path) -> None:
    jobs = regime_jobs(setting(arch), ("flnpf",), tmp_path)

    def diverge(job: Job) -> Job:
        def perform(where: Path, watcher: Any) -> RunRecord:
            record = job.perform(where, watcher)
            (where / MODEL).unlink()
            return dataclasses.replace(record, status="diverged", test_accuracy=None)

        return dataclasses.replace(job, perform=perform)

    changed = [diverge(job) if (job.kind, job.seed) == ("relu", 0) else job for job in jobs]
    records = {(r.kind, r.seed): r for r in run_jobs(changed, tmp_path)}
    assert records["flnpf", 0].status == "diverged"
    assert f"{arch}-adam-relu-seed0 left no trained network" in records["flnpf", 0].message
    assert records["flnpf", 1].status == "finished"


def test_the_first_unfinished_job_works_for_all(tmp_path: Path) -> None:
    jobs = regime_jobs(setting(), ("relu",), tmp_path)
    assert [job.cost for job in jobs] == [4.0, 0.0]
    assert [job.title for job in jobs] == ["FC, Adam, ReLU, seed 0", "FC, Adam, ReLU, seed 1"]
    assert [job.watched_as for job in jobs] == ["FC, Adam, ReLU, seed 0 (and 1 more: mean)", ""]
    stream = io.StringIO()
    run_jobs(jobs[:1], tmp_path, progress=TerminalProgress(stream))
    begins, ends = stream.getvalue().splitlines()
    assert begins.startswith("[1/1] FC, Adam, ReLU, seed 0 (and 1 more: mean): ")
    assert ends.startswith("[1/1] FC, Adam, ReLU, seed 0: test accuracy ")
    assert (jobs[1].folder / CHECKPOINT).exists()
    assert [job.cost for job in regime_jobs(setting(), ("relu",), tmp_path)] == [0.0, 2.0]


@pytest.mark.parametrize("arch", ["fc", "gconv"])
def test_no_validation_where_it_is_trained_on(arch: str, tmp_path: Path) -> None:
    data = all_for_training(DATA)
    records = done(tmp_path, ("relu",), arch=arch, data=data, validate=False)
    for record in records:
        assert record.n_train == len(DATA.train) + len(DATA.validation)
        assert record.n_validation == 0
        assert {epoch.validation_accuracy for epoch in record.curve} == {None}


def test_other_settings_are_refused(tmp_path: Path) -> None:
    done(tmp_path, ("relu",))
    with pytest.raises(RunError, match="width was 4, is now 5"):
        done(tmp_path, ("relu",), width=5)
