"""Blocks on threads, processes and clusters.

- A worker lost on a local cluster of two loses nothing, and so does losing all copies of the data;
  workers that fail, that do not see the store, or that are not there are told of.
- A network that cannot be sent to other processes is refused, before any process is started.
- How much there is to do, and how long it should take, stands in the log, if it is long before a
  first pair is tried; how far it is, in a bar with the time left where somebody looks, else in the
  log: after the first block, and at every tenth.
"""

import io
import re
import subprocess
import sys
import threading
from concurrent.futures import CancelledError
from datetime import timedelta

import pytest
import torch

import dualview as dv
from dualview.errors import PathKernelError
from dualview.path_kernel.gram import schedule as room
from dualview.path_kernel.gram.block import Job
from dualview.path_kernel.gram.store import GramStore
from tests.path_kernel.gram.cases import BLOCK, BLOCKS, N, chunks, dense
from tests.processes import two_workers


@pytest.fixture
def x():
    return torch.randn(N, 6)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "gram.zarr"


# Clusters


@pytest.fixture(scope="module")
def cluster():
    with two_workers() as cluster:
        yield cluster


def test_lost_worker_loses_nothing(cluster, tmp_path):
    x, store, whole = torch.randn(300, 6), tmp_path / "store", tmp_path / "whole"
    dv.npk_gram(dense(), x, whole, block=20)
    first = cluster.workers[0].pid
    killer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, pathlib, sys, time\n"
            "done = pathlib.Path(sys.argv[1])\n"
            "while not done.exists() or len(list(done.iterdir())) < 10: time.sleep(0.005)\n"
            f"os.kill({first}, 9)\n"
            "print(len(list(done.iterdir())))",
            str(store / "gram" / "done"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    dv.npk_gram(dense(), x, store, block=20, scheduler=cluster.scheduler_address)
    finished = int(killer.communicate(timeout=30)[0])
    assert killer.returncode == 0
    assert 10 <= finished < 120, "the worker was to be lost in the middle"
    assert chunks(store) == chunks(whole)


def test_lost_data_is_sent_again(cluster, x, out, monkeypatch):
    one_pass, calls = room._one_pass, []

    def losing(job, store, client, blocks, advance):
        calls.append(len(blocks))
        one_pass(job, store, client, blocks[:3], advance)
        if len(calls) < 3:
            raise CancelledError("lost dependencies")

    monkeypatch.setattr(room, "_one_pass", losing)
    gram = dv.npk_gram(dense(), x, out, block=BLOCK, scheduler=cluster.scheduler_address)[:]
    assert calls == [10, 7, 4, 1]
    torch.testing.assert_close(torch.from_numpy(gram), dv.npk(dense(), x))


def test_cluster_that_loses_everything_is_given_up(cluster, x, out, monkeypatch):
    def losing(*_):
        raise CancelledError("lost dependencies")

    monkeypatch.setattr(room, "_one_pass", losing)
    with pytest.raises(PathKernelError, match="lost the data 3 times"):
        dv.npk_gram(dense(), x, out, block=BLOCK, scheduler=cluster.scheduler_address)


def test_workers_that_do_not_see_the_store(cluster, x, out, monkeypatch):
    monkeypatch.setattr(GramStore, "create", lambda self, *_: (self.path / "gram/done").mkdir())
    expected = "a worker finds no store there.; 0 of 10 blocks .* let every worker write"
    with pytest.raises(PathKernelError, match=expected):
        dv.npk_gram(dense(), x, out, block=BLOCK, scheduler=cluster.scheduler_address)


def test_errors_come_back_from_workers(cluster, out):
    x = torch.full((4, 6), 1e30)
    x[0] = 1  # the pair that is tried first does not overflow
    with pytest.raises(PathKernelError, match=r"^examples [01] to \d of x \(x1\) .* float32 holds"):
        dv.npk_gram(
            dense(kind="dnn"), x, out, block=2, scheduler=cluster.scheduler_address, gates="hard"
        )
    assert (out / "zarr.json").exists()


def test_no_scheduler_there(x, out):
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "200ms"}),
        pytest.raises(PathKernelError, match=r"no dask scheduler answers at 'tcp://127.0.0.1:9'"),
    ):
        dv.npk_gram(dense(), x, out, scheduler="tcp://127.0.0.1:9")


class Unpicklable(dv.HardGate):
    """A gate of a user that holds what only this process has."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def __deepcopy__(self, memo):
        return self


@pytest.mark.parametrize("scheduler", ["processes", "tcp://127.0.0.1:9"])
def test_network_that_cannot_travel(x, out, scheduler):
    net = dense(gate=Unpicklable())
    with pytest.raises(PathKernelError, match=r"cannot be sent .*lock.*scheduler='threads'"):
        dv.npk_gram(net, x, out, block=BLOCK, scheduler=scheduler)
    gram = dv.npk_gram(net, x, out, block=BLOCK)[:]
    torch.testing.assert_close(torch.from_numpy(gram), dv.npk(dense(), x, gates="hard"))


# Progress


def test_work_and_time_are_announced(out, caplog):
    with caplog.at_level("INFO", logger="dualview.path_kernel"):
        dv.npk_gram(dense(), torch.randn(1000, 6), out, block=250, workers=2)
        dv.npk_gram(dense(), torch.randn(20, 6), out, block=20, workers=2, overwrite=True)
    told = [message for message in caplog.messages if "to compute" in message]
    assert re.fullmatch(
        rf"{out}: 1,000 x 1,000 examples, 4\.0 MB; 10 of 10 blocks of 250 x 250 to compute, "
        r"(under a second|about 0:00:\d\d) on 2 workers",
        told[0],
    )
    assert told[1].endswith("1 of 1 blocks of 20 x 20 to compute, under a second on 1 worker")


@pytest.mark.parametrize("seconds", [1, 40])
def test_time_is_that_of_a_pair_by_their_number(x, out, monkeypatch, caplog, seconds):
    """Of two blocks a side, two are computed by half: 50 pairs in all, on 2 workers."""
    monkeypatch.setattr(room, "measured_seconds", lambda job: seconds / 25)
    with caplog.at_level("INFO", logger="dualview.path_kernel"):
        dv.npk_gram(dense(), x[:10], out, block=5, workers=2)
    assert f"about 0:00:{seconds:02} on 2 workers" in caplog.messages[0]
    caplog.clear()
    with caplog.at_level("INFO", logger="dualview.path_kernel"):
        dv.npk_gram(dense(), x[:10], out, block=5)
    assert caplog.messages == [
        f"{out}: 10 x 10 examples, 0.0 MB; 0 of 3 blocks of 5 x 5 to compute"
    ]


def test_long_work_is_told_before_a_pair_is_tried(x, out, monkeypatch, caplog, capsys):
    monkeypatch.setattr(room, "rough_seconds", lambda job: 2.0)
    tried = []
    monkeypatch.setattr(Job, "try_one_pair", lambda job: tried.append(list(caplog.messages)))
    with caplog.at_level("INFO", logger="dualview.path_kernel"):
        dv.npk_gram(dense(), x, out, block=1, workers=2)
    pairs = N**2 // 2  # two seconds each, by two
    said = f"{out}: {N} x {N} examples should take about {timedelta(seconds=pairs)} on 2 workers"
    assert tried[0][0].startswith(said)
    blocks = N * (N + 1) // 2
    told = [message for message in caplog.messages if message.startswith("Gram matrix: ")]
    assert told[0].startswith(f"Gram matrix: 1 of {blocks} blocks, ")
    assert len(told) == 11
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    dv.npk_gram(dense(1), x, out, overwrite=True, x2=x[:2])
    assert f"{N} x 2 examples should take about 0:00:{2 * N:02}" in capsys.readouterr().err


def test_nothing_is_measured_where_nobody_reads(x, out, monkeypatch):
    monkeypatch.setattr(room, "measured_seconds", lambda job: pytest.fail("measured"))
    dv.npk_gram(dense(), x, out, block=BLOCK)


def test_bar_with_time_left_on_a_terminal(x, out, monkeypatch, capsys):
    """It is there before the first block is done."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(room, "measured_seconds", lambda job: 40.0)
    dv.npk_gram(dense(), x, out, block=BLOCK, workers=2)
    shown = capsys.readouterr().err
    pairs = 9 * (10 - 4 / 2)
    first = shown.replace("\r", "\n").split("\n")[1]
    assert f"0/{BLOCKS}" in first
    assert f"about {timedelta(seconds=40 * pairs / 2)} on 2 workers" in first
    assert f"{BLOCKS}/{BLOCKS}" in shown
    assert "Gram matrix" in shown
    dv.npk_gram(dense(1), x, out, block=BLOCK, overwrite=True, progress=False)
    assert capsys.readouterr().err == ""


def test_bar_in_a_notebook(x, out, monkeypatch):
    stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stderr", stream)
    dv.npk_gram(dense(), x, out, block=BLOCK)
    assert f"{BLOCKS}/{BLOCKS}" in stream.getvalue()


def test_log_elsewhere(x, out, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", sys)  # imported by others, it is no notebook
    with caplog.at_level("INFO", logger="dualview.path_kernel"):
        dv.npk_gram(dense(), x, out, block=BLOCK)
    told = [message for message in caplog.messages if message.startswith("Gram matrix: ")]
    assert told[0] == f"Gram matrix: 1 of {BLOCKS} blocks, under a second left"
    assert told[-1] == f"Gram matrix: {BLOCKS} of {BLOCKS} blocks"
