"""What schedulers and launchers do to a process that trains.

1. Their variables change nothing: with those of SLURM, torchrun, MPI, LSF, Kubernetes and Lightning
   itself set, a run ends in the same numbers and leaves all of its files and records.
2. A signal by which they announce an end leaves with its own status, in the midst of an epoch too,
   and leaves nothing but the finished epochs; the same call then ends in the numbers of an
   uninterrupted one, and one with another learning rate is refused.
3. Whoever handles or ignores such a signal goes on doing so.
4. What an earlier version's Lightning left in the folder is not gone on from.
5. Several devices are processes that this one starts, whatever launcher started it; only the first
   writes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dualview.errors import RunError
from dualview.experiments.comparison import compare
from dualview.experiments.records import load_records
from dualview.training import (
    CHECKPOINT,
    METRICS,
    MODEL,
    Terminated,
    TrainSettings,
    Unwatched,
    is_main_process,
    train,
)
from dualview.training.environment import (
    MAIN,
    has_started_others,
    settings_alone_decide,
    start_a_group,
)
from dualview.training.interruption import ENDING, terminable
from tests.experiments.small import exact, small
from tests.processes import start
from tests.training.tiny import tiny_data, tiny_net

SETTINGS = TrainSettings(
    epochs=3, batch_size=16, learning_rate=0.01, accelerator="cpu", threads=1, tensorboard=False
)
STEPS = 3
"""In an epoch."""

LAUNCHERS: dict[str, dict[str, str]] = {
    "SLURM": {
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NAME": "train",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "3",
        "SLURM_NTASKS": "4",
        "SLURM_NODEID": "0",
        "SLURM_NODELIST": "node[1-2]",
    },
    "torchrun": {
        "TORCHELASTIC_RUN_ID": "x",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "RANK": "3",
        "LOCAL_RANK": "1",
        "GROUP_RANK": "1",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "203.0.113.1",
        "MASTER_PORT": "1",
    },
    "MPI": {
        "OMPI_COMM_WORLD_RANK": "2",
        "OMPI_COMM_WORLD_SIZE": "4",
        "OMPI_COMM_WORLD_LOCAL_RANK": "2",
        "PMI_RANK": "2",
    },
    "LSF": {
        "LSB_JOBID": "7",
        "LSB_DJOB_RANKFILE": "/nowhere",
        "JSM_NAMESPACE_LOCAL_RANK": "1",
        "JSM_NAMESPACE_SIZE": "4",
        "JSM_NAMESPACE_RANK": "3",
    },
    "Kubernetes": {
        "KUBERNETES_PORT": "tcp://203.0.113.1:443",
        "MASTER_ADDR": "203.0.113.1",
        "MASTER_PORT": "1",
        "WORLD_SIZE": "4",
        "RANK": "3",
    },
    "Lightning": {
        "LOCAL_RANK": "1",
        "NODE_RANK": "1",
        "PL_TRAINER_LIMIT_TRAIN_BATCHES": "1",
        "PL_TRAINER_FAST_DEV_RUN": "true",
    },
}


def _train(folder: Path, watcher: Any = None, **options: Any) -> list[Any]:
    result = train(tiny_net(), tiny_data(), replace(SETTINGS, **options), folder, watcher=watcher)
    return [replace(epoch, seconds=0) for epoch in result.curve]


def _set(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_variables_change_nothing(
    launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, settings = tiny_data(), small(kinds=("dnn",))
    before = compare(settings, tmp_path / "before", data=data)
    _set(monkeypatch, LAUNCHERS[launcher])
    environment = dict(os.environ)
    after = compare(settings, tmp_path / "after", data=data)
    assert dict(os.environ) == environment
    assert exact(after) == exact(before)
    names = [
        sorted(p.relative_to(tmp_path / run) for p in (tmp_path / run).rglob("*"))
        for run in ("before", "after")
    ]
    assert names[0] == names[1]
    assert exact(load_records(tmp_path / "after")) == exact(after)


class _Signals(Unwatched):
    """Sends this process a signal at a step."""

    def __init__(self, step: int, number: int) -> None:
        self.left, self.number = step, number

    def stepped(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


def _signalled(folder: Path, step: int, number: int, variables: Mapping[str, str]) -> None:
    os.environ.update(variables)
    _train(folder, _Signals(step, number))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The curve of an uninterrupted run."""
    return _train(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("launcher", [None, "SLURM"])
@pytest.mark.parametrize("number", ENDING)
def test_announced_ends(
    launcher: str | None, number: int, whole: list[Any], tmp_path: Path
) -> None:
    variables = LAUNCHERS.get(launcher or "", {})
    for step, epochs in ((1, 0), (STEPS + 2, 1)):
        folder = tmp_path / str(step)
        process = start(_signalled, folder, step, number, variables)
        process.join(60)
        assert process.exitcode == 128 + number
        files = {CHECKPOINT, METRICS} if epochs else set()
        assert {path.name for path in folder.iterdir()} == files
        if epochs:
            with pytest.raises(RunError, match=r"learning_rate was 0\.01, is now 0\.02"):
                _train(folder, learning_rate=0.02)
        assert _train(folder) == whole


def test_handlers_of_the_caller_stay(tmp_path: Path) -> None:
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    try:
        assert len(_train(tmp_path, _Signals(2, signal.SIGUSR1))) == SETTINGS.epochs
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]
    handlers = {number: signal.getsignal(number) for number in ENDING}
    with pytest.raises(Terminated) as stop, terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.value.code == 128 + signal.SIGTERM
    assert {number: signal.getsignal(number) for number in ENDING} == handlers


def test_foreign_checkpoints_of_lightning_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _train(tmp_path / "whole", epochs=1)
    _set(monkeypatch, LAUNCHERS["SLURM"])
    (tmp_path / "new").mkdir()
    shutil.copy(tmp_path / "whole" / CHECKPOINT, tmp_path / "new" / "hpc_ckpt_1.ckpt")
    assert _train(tmp_path / "new")[:1] != whole  # another schedule
    assert _train(tmp_path / "new") == _train(tmp_path / "again")


def test_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, LAUNCHERS["torchrun"])
    assert is_main_process()
    monkeypatch.setenv(MAIN, "")  # so that it is put back
    start_a_group()
    assert os.environ[MAIN] == str(os.getpid())
    assert "RANK" not in os.environ
    assert not has_started_others()
    monkeypatch.setenv("LOCAL_RANK", "0")  # as Lightning does when it starts others
    assert is_main_process()
    assert has_started_others()
    start_a_group()
    assert os.environ["LOCAL_RANK"] == "0"
    monkeypatch.setenv(MAIN, str(os.getppid()))  # in one of the others
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not is_main_process()
    start_a_group()
    assert os.environ[MAIN] == str(os.getppid())
    with settings_alone_decide():
        assert os.environ["LOCAL_RANK"] == "1"


def test_several_devices(tmp_path: Path) -> None:
    """Two processes on the CPU, started by a launcher that speaks of four others."""
    script = [sys.executable, "-m", "tests.training.two_devices", str(tmp_path / "out")]
    environment = {**os.environ, **LAUNCHERS["torchrun"], "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        script, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["rank 0: 2 epochs"]
    assert (tmp_path / "out" / "dnn-seed0" / MODEL).exists()
    (record,) = load_records(tmp_path / "out")
    assert len(record.curve) == 2
