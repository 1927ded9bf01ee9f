"""Gram matrices in a zarr store, from the outside.

- The array is the kernel of `npk`, for one set and two sets of examples, PyTorch and NumPy, any
  block size, either type, fully connected and convolutional networks, every option; symmetric to
  the last bit; and the same to the last bit whatever the number of workers and the scheduler.
- Killed with SIGKILL, or by Ctrl-C, and called again, only missing blocks are computed, and every
  chunk file equals that of an uninterrupted run. Ctrl-C says how to go on.
- Other gates, data or options are refused by name; so are foreign paths, a store in use, paths that
  cannot be written to, NaN, what is not floating-point, and bad options. What is refused leaves the
  path as it was.
- A missing library names the extra to install.
- The network, its mode and PyTorch's threads are what they were.
"""

import os
import signal
import sys
import time

import numpy as np
import pytest
import torch
import zarr
from torch import nn

import dualview as dv
from dualview.errors import MissingExtraError, PathKernelError, RunError
from dualview.path_kernel.gram.store import GramStore
from tests.path_kernel.gram.cases import (
    BLOCK,
    BLOCKS,
    N,
    chunks,
    convolutional,
    dense,
    examples,
    failing_write,
    snapshot,
)
from tests.processes import start


@pytest.fixture
def x():
    return torch.randn(N, 6)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "gram.zarr"


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


def test_numpy_of_any_layout_and_type(x, tmp_path):
    expected = dv.npk(dense(), x)
    frozen = x.numpy().copy()
    frozen.flags.writeable = False
    arrays = [frozen, x.double().numpy(), x.numpy()[::-1][::-1], x.numpy().astype(">f4")]
    for number, array in enumerate(arrays):
        gram = dv.npk_gram(dense(), array, tmp_path / str(number), block=BLOCK)[:]
        torch.testing.assert_close(torch.from_numpy(gram), expected)


def test_type_is_the_networks_own_unless_given(x, tmp_path):
    """Examples and network are brought to one type, and the network is left alone."""
    net = dense()
    double = dv.npk_gram(net, x, tmp_path / "double", block=BLOCK, dtype="float64")[:]
    assert all(p.dtype == torch.float32 for p in net.parameters())
    expected = dv.npk(dense().double(), x.double())
    torch.testing.assert_close(torch.from_numpy(double), expected, rtol=1e-12, atol=0)
    single = dv.npk_gram(net, x.double(), tmp_path / "single", block=BLOCK)[:]
    torch.testing.assert_close(torch.from_numpy(single), dv.npk(net, x))


def test_default_block_is_that_of_the_store(x, out, computed):
    dv.npk_gram(dense(), x, out, block=BLOCK)
    (out / "gram/done/0-1").unlink()
    computed.clear()
    assert dv.npk_gram(dense(), x, out).chunks == (BLOCK, BLOCK)
    assert computed == [(0, 1)]
    assert dv.npk_gram(dense(), x, out, overwrite=True).chunks != (BLOCK, BLOCK)


def test_two_sets_of_examples(x, out, computed):
    x2 = torch.randn(5, 6)
    gram = dv.npk_gram(dense(), x, out, x2=x2, block=BLOCK)[:]
    assert len(computed) == 4 * 2
    torch.testing.assert_close(torch.from_numpy(gram), dv.npk(dense(), x, x2))


@pytest.mark.parametrize(
    "options",
    [
        {"normalise": False},
        {"gates": "hard"},
        {"batch_norm": "scale"},
        {"biases": True, "bias_variance": 0.5},
    ],
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
    assert set(group.attrs) == {"format", "shape", "fingerprints", "options", "versions"}
    assert group.attrs["shape"] == [N, N]
    assert group.attrs["options"]["dtype"] == "float32"
    assert group.attrs["options"]["block"] == BLOCK


# To be interrupted


def _slow_gram(out):
    write = GramStore.write

    def slow(self, block, values):
        if len(self.missing()) <= 7:  # of 10: time enough to be killed
            time.sleep(2)
        write(self, block, values)

    GramStore.write = slow
    dv.npk_gram(dense(), examples(), out, block=BLOCK, workers=2)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_killed_process_goes_on_with_what_is_missing(tmp_path, computed, number):
    x, log = examples(), tmp_path / "log"
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(_slow_gram, killed, log=log)
    done = killed / "gram" / "done"
    while not done.exists() or len(list(done.iterdir())) < 3:
        assert process.is_alive(), log.read_text()
        time.sleep(0.02)
    with pytest.raises(RunError, match=f"process {process.pid} on .+ is writing"):
        dv.npk_gram(dense(), x, killed, block=BLOCK)
    os.kill(process.pid, number)
    process.join(30)
    if number == signal.SIGINT:
        last = log.read_text().rstrip()
        assert last.endswith("To go on, call npk_gram again with the same arguments")
    else:
        assert process.exitcode == -number
    finished = {path.name for path in done.iterdir()}
    assert 3 <= len(finished) < BLOCKS
    assert np.isnan(zarr.open_array(killed / "gram", mode="r")[:]).any()

    dv.npk_gram(dense(), x, killed, block=BLOCK)
    assert not finished & {f"{i}-{j}" for i, j in computed}
    assert len(finished) + len(computed) == BLOCKS
    dv.npk_gram(dense(), x, whole, block=BLOCK)
    assert chunks(killed) == chunks(whole)


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


# Refusals


def other_gating(net):
    next(net.gating_network.parameters()).data[0, 0] += 1e-3


def other_gates(net):
    net.gate_functions[0].beta = 3.0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_gating, "another gating network"),
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
        ({"dtype": "float64"}, "dtype='float32', not 'float64'"),
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


def test_interruption_says_how_to_go_on(x, out, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(GramStore, "write", failing_write(KeyboardInterrupt(), 4))
        with pytest.raises(KeyboardInterrupt) as stop:
            dv.npk_gram(dense(), x, out, block=BLOCK, workers=1)
    assert stop.value.__notes__ == [
        f"{out}: finished blocks are kept. To go on, call npk_gram again with the same arguments"
    ]


def test_overwrite_starts_over(x, tmp_path, computed):
    store, fresh = tmp_path / "store", tmp_path / "fresh"
    dv.npk_gram(dense(), x, store, block=5)
    computed.clear()
    dv.npk_gram(dense(1), x, store, block=BLOCK, overwrite=True)
    assert len(computed) == BLOCKS
    dv.npk_gram(dense(1), x, fresh, block=BLOCK, overwrite=True)  # and where nothing is
    assert chunks(store) == chunks(fresh)


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


def test_network_of_another_type_is_refused(x, out):
    with pytest.raises(PathKernelError, match=r"got torch.float16\. Repair: dtype='float32'"):
        dv.npk_gram(dense().half(), x, out)
    assert not out.exists()


def test_a_value_too_large_for_the_type_is_refused(x, out):
    bad = x.double()
    bad[2, 0] = 1e300
    with pytest.raises(PathKernelError, match=r"^x: expected finite values, .* row 2"):
        dv.npk_gram(dense(), bad, out, block=BLOCK)


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
        ({"block": 0}, "block: expected a whole number from 1 to 32768, or None, got 0"),
        ({"workers": -1}, "workers: expected a whole number from 1 to 32768, or None, got -1"),
        ({"block": 10**20}, "block: expected a whole number from 1 to 32768, or None, got 1000"),
        (
            {"workers": 10**20},
            "workers: expected a whole number from 1 to 32768, or None, got 1000",
        ),
        ({"scheduler": "gpu"}, "scheduler: expected 'threads', 'processes' or an address"),
        ({"scheduler": "tcp://a:1", "workers": 2}, "workers: expected none with the cluster"),
        ({"gates": "soft"}, "gates: expected 'model' or 'hard'"),
        ({"dtype": "float16"}, "dtype: expected 'float32' or 'float64', or None, got 'float16'"),
        ({"x2": torch.ones(2, 5)}, r"x2: expected .*\(6,\).* as in x"),
        ({"x2": torch.ones(2, 6).int()}, "x2: expected .* floating-point numbers, got torch.int32"),
        (
            {"x2": np.ones((2, 6), np.uint8)},
            "x2: expected .* floating-point numbers, got an array of uint8",
        ),
        ({"x2": [[1.0]]}, r"x2: expected .* floating-point numbers, got \[\[1.0\]\]"),
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
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"{library}.*'dualview\[kernel\]'"):
        dv.npk_gram(dense(), x, out)
