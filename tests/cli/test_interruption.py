"""Properties proved here, of the command line as a process of its own.

1. Killed when half of a checkpoint is written, and started again, it ends with exactly the numbers
   and parameters of an uninterrupted comparison (`experiments/test_compare.py` kills elsewhere).
2. Ctrl-C in the midst of training ends with 130 and the command that goes on, without a traceback,
   and that command ends with the same numbers too.
3. Ctrl-C and SIGTERM say what is left, once, and go on; other errors, and success, say nothing.
"""

import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
import torch

from dualview.cli import main
from dualview.cli.interruption import told_if_interrupted
from dualview.errors import RunError
from dualview.experiments.records import load_records
from dualview.training import CHECKPOINT, Terminated, checkpoints
from dualview.training.checkpoints import read_checkpoint
from tests.experiments.small import exact, parameters
from tests.processes import start

OPTIONS = [
    *("--width", "8", "--seeds", "1", "--kinds", "dnn", "dlgn"),
    *("--epochs", "8", "--batch-size", "256", "--threads", "1"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an uninterrupted comparison."""
    out = tmp_path_factory.mktemp("whole")
    assert main(["compare", *OPTIONS, "--out", str(out)]) == 0
    return out


def _command(out):
    return ["compare", *OPTIONS, "--out", str(out)]


def _expect_same(out, whole, capsys):
    assert main(_command(out)) == 0
    assert "recovered" in capsys.readouterr().out
    assert exact(load_records(out)) == exact(load_records(whole))
    assert parameters(out) == parameters(whole)
    assert (out / "report.html").exists()


def test_ctrl_c(tmp_path, whole, capsys):
    command = [sys.executable, "-m", "dualview.cli", *_command(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "dnn-seed0" / CHECKPOINT).exists() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    error = process.communicate()[1]
    assert process.returncode == 130
    assert f"To go on: {shlex.join(['dualview', *_command(tmp_path)])}\n" in error
    assert "Traceback" not in error
    assert not (tmp_path / "dlgn-seed0" / "record.json").exists()
    _expect_same(tmp_path, whole, capsys)


def _die_writing(command):
    """The command line, killed when half of its second checkpoint is written."""
    save, count = checkpoints.torch.save, 0

    def half(checkpoint, path):
        nonlocal count
        count += 1
        save(checkpoint, path)
        if count == 2:
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoints.torch.save = half
    return main(command)


def test_killed_while_a_checkpoint_is_written(tmp_path, whole, capsys):
    process = start(_die_writing, _command(tmp_path))
    process.join()
    assert process.exitcode == -signal.SIGKILL
    checkpoint = tmp_path / "dnn-seed0" / CHECKPOINT
    assert len(torch.load(checkpoint, weights_only=True)["curve"]) == 1
    (half,) = checkpoint.parent.glob(f"{CHECKPOINT}.*.part/{CHECKPOINT}")
    with pytest.raises(RunError):
        read_checkpoint(half, {})
    _expect_same(tmp_path, whole, capsys)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Terminated()])
def test_what_is_left_is_told(capsys, stop):
    with pytest.raises(type(stop)), told_if_interrupted("no page was written"):
        raise stop
    assert capsys.readouterr().err == "\nInterrupted; no page was written\n"


def test_other_errors_and_success_say_nothing(capsys):
    with told_if_interrupted("no page was written"):
        pass
    with pytest.raises(RunError), told_if_interrupted("no page was written"):
        raise RunError("something else")
    assert capsys.readouterr().err == ""
