"""Gram matrices in a zarr store.

- The array is the kernel of `npk`, of x's type, for one set and two sets of examples, any block
  size, fully connected and convolutional networks, every option; symmetric to the last bit; and the
  same to the last bit whatever the number of workers and the scheduler.
- Killed with SIGKILL and called again, only missing blocks are computed, and every chunk file
  equals that of an uninterrupted run; so too after Ctrl-C and a full disk.
- A worker lost on a local cluster of two loses nothing, and so does losing all copies of the data.
- Other weights, gates, data or options are refused by name, other library versions warned of; so
  are foreign paths, a store in use, paths that cannot be written to, NaN, and bad options. What is
  refused leaves the path as it was.
- The network's mode and PyTorch's threads are what they were.
"""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest
import torch
import zarr
from torch import nn

import dualview as dv
from dualview.errors import MissingExtraError, PathKernelError, RunError
from dualview.path_kernel import gram as room
from dualview.path_kernel.gram_store import GramStore

N, BLOCK = 11, 3
BLOCKS = 10  # of the upper triangle of 4 x 4


def dense(seed=0, kind="dlgn", **options):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 2))
    return dv.disentangle(model, kind, seed=seed, **options)


def convolutional():
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )
    net = dv.disentangle(model.eval(), "dgn", seed=0)
    (norm,) = (m for m in net.weights_network.modules() if isinstance(m, nn.BatchNorm2d))
    norm.weight.data.uniform_(0.5, 2)
    norm.running_var.uniform_(0.5, 2)
    return net


@pytest.fixture
def x():
    return torch.randn(N, 6)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "gram.zarr"


def chunks(store):
    """Every chunk file's bytes, and the metadata."""
    files = [*store.rglob("c/*/*"), *store.rglob("zarr.json")]
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


def snapshot(folder):
    return {
        str(path.relative_to(folder)): path.is_file() and path.read_bytes()
        for path in folder.rglob("*")
    }


@pytest.fixture
def computed(monkeypatch):
    """The blocks that this process computes, as they are finished."""
    blocks = []
    write = GramStore.write

    def counted(self, block, values):
        write(self, block, values)
        blocks.append(block)

    monkeypatch.setattr(GramStore, "write", counted)
    return blocks


def failing_write(error, after):
    """A `GramStore.write` that fails after some blocks."""
    write, calls = GramStore.write, []

    def failing(self, block, values):
        calls.append(block)
        if len(calls) > after:
            raise error
        write(self, block, values)

    return failing


# The array


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["dnn", "dlgn"])
def test_array_is_the_kernel_and_symmetric(x, out, dtype, kind):
    net, x = dense(kind=kind).to(dtype), x.to(dtype)
    array = dv.npk_gram(net, x, out, block=BLOCK)
    assert isinstance(array, zarr.Array)
    assert array.chunks == (BLOCK, BLOCK)
    gram = array[:]
    torch.testing.assert_close(torch.from_numpy(gram), dv.npk(net, x))  # dtype too
    assert np.array_equal(gram, gram.T)


@pytest.mark.parametrize("block", [1, 4, N, 1000])
def test_any_block_size(x, out, block):
    gram = dv.npk_gram(dense(), x, out, block=block)[:]
    torch.testing.assert_close(torch.from_numpy(gram), dv.npk(dense(), x))


def test_two_sets_of_examples(x, out, computed):
    x2 = torch.randn(5, 6)
    gram = dv.npk_gram(dense(), x, out, x2=x2, block=BLOCK)[:]
    assert len(computed) == 4 * 2
    torch.testing.assert_close(torch.from_numpy(gram), dv.npk(dense(), x, x2))


@pytest.mark.parametrize(
    "options",
    [{"normalise": False}, {"gates": "hard"}, {"batch_norm": "scale"}, {"biases": True}],
    ids=str,
)
def test_options_reach_the_kernel(out, options):
    net, x = convolutional(), torch.randn(5, 2, 4, 4)
    gram = torch.from_numpy(dv.npk_gram(net, x, out, block=2, **options)[:])
    torch.testing.assert_close(gram, dv.npk(net, x, **options))
    assert not torch.allclose(gram, dv.npk(net, x))


def test_upper_triangle_only(x, out, computed):
    dv.npk_gram(dense(), x, out, block=BLOCK)
    assert sorted(computed) == [(i, j) for i in range(4) for j in range(i, 4)]
    assert len(computed) == BLOCKS


def test_workers_and_schedulers_agree_to_the_last_bit(x, tmp_path):
    stores = [tmp_path / name for name in ("one", "three", "processes")]
    dv.npk_gram(dense(), x, stores[0], block=BLOCK, workers=1)
    dv.npk_gram(dense(), x, stores[1], block=BLOCK, workers=3)
    dv.npk_gram(dense(), x, stores[2], block=BLOCK, workers=1, scheduler="processes")
    assert chunks(stores[0]) == chunks(stores[1]) == chunks(stores[2])


def test_mode_and_threads_are_restored(x, out):
    net = dense().train()
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        dv.npk_gram(net, x, out, block=BLOCK)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert all(module.training for module in net.modules())
    assert all(p.requires_grad for p in net.parameters())


def test_store_is_a_clean_zarr_hierarchy(x, out):
    dv.npk_gram(dense(), x, out, block=BLOCK)
    group = zarr.open_group(out, mode="r")  # warnings about foreign entries are errors here
    assert [name for name, _ in group.members()] == ["gram"]
    assert set(group.attrs) == {"format", "fingerprints", "options", "versions"}


# To be interrupted


SCRIPT = textwrap.dedent(
    """
    import sys, time
    import torch
    import dualview as dv
    from dualview.path_kernel.gram_store import GramStore
    from tests.path_kernel.test_gram import BLOCK, N, dense

    write = GramStore.write
    def slow(self, block, values):
        if len(self.missing()) <= 7:  # of 10: time enough to be killed
            time.sleep(2)
        write(self, block, values)
    GramStore.write = slow
    torch.manual_seed(0)
    dv.npk_gram(dense(), torch.randn(N, 6, generator=torch.Generator().manual_seed(1)),
                sys.argv[1], block=BLOCK, workers=2)
    """
)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_killed_process_goes_on_with_what_is_missing(tmp_path, computed, number):
    x = torch.randn(N, 6, generator=torch.Generator().manual_seed(1))
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(killed)], stderr=subprocess.PIPE, text=True
    )
    done = killed / "gram" / "done"
    deadline = time.monotonic() + 60
    while not done.exists() or len(list(done.iterdir())) < 3:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(RunError, match=f"process {process.pid} is writing here"):
        dv.npk_gram(dense(), x, killed, block=BLOCK)
    process.send_signal(number)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == -number, errors
    finished = {path.name for path in done.iterdir()}
    assert 3 <= len(finished) < BLOCKS
    assert np.isnan(zarr.open_array(killed / "gram", mode="r")[:]).any()

    dv.npk_gram(dense(), x, killed, block=BLOCK)
    assert not finished & {f"{i}-{j}" for i, j in computed}
    assert len(finished) + len(computed) == BLOCKS
    dv.npk_gram(dense(), x, whole, block=BLOCK)
    assert chunks(killed) == chunks(whole)


def test_chunk_without_its_mark_is_computed_again(x, tmp_path, computed):
    """What is left of a process killed between, or in the middle of, writing and marking."""
    store, whole = tmp_path / "store", tmp_path / "whole"
    dv.npk_gram(dense(), x, whole, block=BLOCK)
    dv.npk_gram(dense(), x, store, block=BLOCK)
    (store / "gram/done/0-1").unlink()
    (store / "gram/c/1/0").write_bytes(b"half")
    computed.clear()
    dv.npk_gram(dense(), x, store, block=BLOCK)
    assert computed == [(0, 1)]
    assert chunks(store) == chunks(whole)


def test_finished_store_is_not_touched(x, out, computed):
    dv.npk_gram(dense(), x, out, block=BLOCK)
    before = snapshot(out)
    computed.clear()
    dv.npk_gram(dense(), x, out, block=BLOCK)
    assert not computed
    assert snapshot(out) == before


def test_killed_before_the_store_has_a_frame(x, out, computed):
    (out / "gram").mkdir(parents=True)
    (out / "gram/lock").write_text("123\n")
    dv.npk_gram(dense(), x, out, block=BLOCK)
    assert len(computed) == BLOCKS


def test_full_disk_keeps_finished_blocks(x, tmp_path, monkeypatch):
    store, whole = tmp_path / "store", tmp_path / "whole"
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        patch.setattr(GramStore, "write", failing_write(full, 4))
        with pytest.raises(
            PathKernelError, match=r"No space left on device\); 4 of 10 blocks .* make room"
        ):
            dv.npk_gram(dense(), x, store, block=BLOCK, workers=1)
    assert len(list((store / "gram/done").iterdir())) == 4
    dv.npk_gram(dense(), x, store, block=BLOCK)
    dv.npk_gram(dense(), x, whole, block=BLOCK)
    assert chunks(store) == chunks(whole)


# Clusters


@pytest.fixture(scope="module")
def cluster():
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


def test_lost_worker_loses_nothing(cluster, tmp_path):
    x, store, whole = torch.randn(400, 6), tmp_path / "store", tmp_path / "whole"
    dv.npk_gram(dense(), x, whole, block=20)
    first = cluster.workers[0].pid
    killer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, pathlib, sys, time\n"
            "done = pathlib.Path(sys.argv[1])\n"
            "while not done.exists() or len(list(done.iterdir())) < 20: time.sleep(0.005)\n"
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
    assert 20 <= finished < 210, "the worker was to be lost in the middle"
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
    with pytest.raises(PathKernelError, match="kernel overflows"):
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


# Refusals


def other_gating(net):
    next(net.gating_network.parameters()).data[0, 0] += 1e-3


def other_weights(net):
    next(net.weights_network.parameters()).data[0, 0] += 1e-3


def other_gates(net):
    net.gate_functions[0].beta = 3.0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_gating, "another gating network"),
        (other_weights, "another weights network"),
        (other_gates, "another gates"),
    ],
)
def test_other_networks_are_refused(x, out, change, named):
    dv.npk_gram(dense(), x, out, block=BLOCK)
    before, net = snapshot(out), dense()
    change(net)
    with pytest.raises(RunError, match=f"something else: {named}. Repair: .*overwrite=True"):
        dv.npk_gram(net, x, out, block=BLOCK)
    assert snapshot(out) == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"x2": torch.ones(2, 6)}, "another data x2"),
        ({"block": 4}, "block=3, not 4"),
        ({"normalise": False}, "normalise=True, not False"),
        ({"gates": "hard"}, "gates='model', not 'hard'"),
        ({"batch_norm": "scale"}, "batch_norm='identity', not 'scale'"),
        ({"biases": True}, "biases=False, not True"),
    ],
)
def test_other_options_are_refused(x, out, options, named):
    dv.npk_gram(dense(), x, out, block=BLOCK)
    with pytest.raises(RunError, match=named):
        dv.npk_gram(dense(), x, out, **{"block": BLOCK, **options})


def test_other_data_is_refused(x, out):
    dv.npk_gram(dense(), x, out, block=BLOCK)
    other = x.clone()
    other[-1, -1] = torch.nextafter(other[-1, -1], torch.tensor(9.0))
    with pytest.raises(RunError, match=r"something else: another data x\. "):
        dv.npk_gram(dense(), other, out, block=BLOCK)
    with pytest.raises(RunError, match="another data x"):
        dv.npk_gram(dense(), x[:-1], out, block=BLOCK)


def test_other_gate_order_is_refused(out):
    def net(order):
        model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU())
        torch.manual_seed(0)
        for part in (model[0], model[2]):
            part.reset_parameters()
        return dv.disentangle(
            nn.Sequential(*model, nn.Linear(5, 2)), "dlgn", seed=0, gate_order=order
        )

    x = torch.randn(3, 6)
    dv.npk_gram(net((0, 1)), x, out)
    with pytest.raises(RunError, match=r"gate_order=\[0, 1\], not \[1, 0\]"):
        dv.npk_gram(net((1, 0)), x, out)


def test_overwrite_starts_over(x, tmp_path, computed):
    store, fresh = tmp_path / "store", tmp_path / "fresh"
    dv.npk_gram(dense(), x, store, block=5)
    computed.clear()
    dv.npk_gram(dense(1), x, store, block=BLOCK, overwrite=True)
    assert len(computed) == BLOCKS
    dv.npk_gram(dense(1), x, fresh, block=BLOCK, overwrite=True)  # and where nothing is
    assert chunks(store) == chunks(fresh)


def test_other_versions_are_warned_of(x, out, monkeypatch):
    monkeypatch.setattr(GramStore, "write", failing_write(KeyboardInterrupt(), 2))
    with pytest.raises(KeyboardInterrupt):
        dv.npk_gram(dense(), x, out, block=BLOCK, workers=1)
    monkeypatch.undo()
    monkeypatch.setattr("dualview.path_kernel.gram_store.version", lambda name: "0.0")
    with pytest.warns(dv.DualviewWarning, match=r"torch 2.* then, 0.0 now"):
        gram = dv.npk_gram(dense(), x, out, block=BLOCK)[:]
    torch.testing.assert_close(torch.from_numpy(gram), dv.npk(dense(), x))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("foreign", ["file", "folder", "array", "group"])
def test_foreign_paths_stay_as_they_are(x, out, foreign, overwrite):
    if foreign == "file":
        out.write_text("mine")
    elif foreign == "folder":
        out.mkdir()
        (out / "thesis.txt").write_text("mine")
    elif foreign == "array":
        zarr.create_array(out, shape=(2,), dtype="f4")
    else:
        zarr.create_group(out).create_array("gram", shape=(2,), dtype="f4")
    before = snapshot(out.parent)
    with pytest.raises(RunError, match=r"expected a Gram store .* choose another `out`"):
        dv.npk_gram(dense(), x, out, overwrite=overwrite)
    assert snapshot(out.parent) == before


def test_unwritable_path(x, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"expected a folder to write to, got NotADirectoryError"):
        dv.npk_gram(dense(), x, tmp_path / "file" / "gram.zarr")


def test_nan_is_refused_and_finished_blocks_stay(x, out):
    dv.npk_gram(dense(), x, out, block=BLOCK)
    before = snapshot(out)
    bad = x.clone()
    bad[4, 2] = float("nan")
    with pytest.raises(PathKernelError, match=r"^x: expected finite values, got NaN .* row 4"):
        dv.npk_gram(dense(), bad, out, block=BLOCK)
    assert snapshot(out) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": 0}, "block: expected a whole number above 0, got 0"),
        ({"workers": -1}, "workers: expected a whole number above 0, got -1"),
        ({"scheduler": "gpu"}, "scheduler: expected 'threads', 'processes' or an address"),
        ({"scheduler": "tcp://a:1", "workers": 2}, "workers: expected none with the cluster"),
        ({"gates": "soft"}, "gates: expected 'model' or 'hard'"),
        ({"x2": torch.ones(2, 5)}, r"x2: expected torch.float32 .* shape \(n2, 6\)"),
        ({"x2": torch.ones(2, 6).double()}, "x2: expected torch.float32"),
    ],
)
def test_bad_options_write_nothing(x, out, options, message):
    with pytest.raises(PathKernelError, match=message):
        dv.npk_gram(dense(), x, out, **options)
    assert not out.exists()


def test_what_the_kernel_refuses_writes_nothing(out):
    net = dv.disentangle(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "dgn", seed=0)
    with pytest.raises(PathKernelError, match="output of a weight layer"):
        dv.npk_gram(net, torch.randn(3, 2), out)
    assert not out.exists()


@pytest.mark.parametrize("library", ["dask", "distributed", "zarr", "tqdm"])
def test_missing_library_names_the_extra(x, out, monkeypatch, library):
    find = room.importlib.util.find_spec
    monkeypatch.setattr(
        room.importlib.util, "find_spec", lambda name: None if name == library else find(name)
    )
    with pytest.raises(MissingExtraError, match=rf"{library}.*'dualview\[kernel\]'"):
        dv.npk_gram(dense(), x, out)


# Progress


def test_bar_with_time_left_on_a_terminal(x, out, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    dv.npk_gram(dense(), x, out, block=BLOCK)
    shown = capsys.readouterr().err
    assert f"{BLOCKS}/{BLOCKS}" in shown
    assert "Gram matrix" in shown
    dv.npk_gram(dense(1), x, out, block=BLOCK, overwrite=True, progress=False)
    assert capsys.readouterr().err == ""


def test_log_elsewhere(x, out, caplog):
    with caplog.at_level("INFO", logger="dualview.path_kernel"):
        dv.npk_gram(dense(), x, out, block=BLOCK)
    assert f"Gram matrix: {BLOCKS} of {BLOCKS} blocks" in caplog.messages
