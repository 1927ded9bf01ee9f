"""The store of a Gram matrix.

- A block counts as finished only where it is marked and all its chunks are whole; what a killed
  process leaves (chunks without a mark, halves, zarr's parts) is computed again or swept away.
- A file that is cut short or altered is refused, and then nothing is touched, or is computed again;
  whoever reads an altered chunk with zarr alone is told.
- A mark is made last, when the chunks and their folders have been flushed to the disk.
- A full disk, simulated and real, is one clear error; finished blocks are kept, and the call goes
  on where there is room again.
"""

import errno
import os
import re
import shutil
import sys
import textwrap

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import dualview as dv
from dualview.errors import PathKernelError, RunError
from dualview.path_kernel.gram import store as room
from dualview.path_kernel.gram.store import GramStore
from tests.damage import damaged
from tests.path_kernel.gram.cases import BLOCK, chunks, dense, examples, failing_write, snapshot
from tests.small_disk import run_on_small_disk


@pytest.fixture
def x():
    return torch.randn(11, 6)


# Finished, or not


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


@pytest.mark.parametrize("harm", ["deleted", "cut", "cut mirror image"])
def test_mark_without_whole_chunks_is_not_believed(x, tmp_path, computed, harm):
    """Of a store that was copied in part, or whose disk lost what it had promised to keep."""
    store, whole = tmp_path / "store", tmp_path / "whole"
    dv.npk_gram(dense(), x, whole, block=BLOCK)
    dv.npk_gram(dense(), x, store, block=BLOCK)
    chunk = store / ("gram/c/3/1" if harm == "cut mirror image" else "gram/c/1/3")
    if harm == "deleted":
        chunk.unlink()
    else:
        chunk.write_bytes(chunk.read_bytes()[:-1])
    computed.clear()
    dv.npk_gram(dense(), x, store, block=BLOCK)
    assert computed == [(1, 3)]
    assert chunks(store) == chunks(whole)


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory):
    """A finished store."""
    store = tmp_path_factory.mktemp("undamaged") / "store"
    dv.npk_gram(dense(), examples(), store, block=BLOCK)
    return store


FILES = ["zarr.json", "gram/zarr.json", "gram/c/0/2", "gram/c/2/0", "gram/c/3/3"]


def _outcome(store):
    """The chunks after another call, or the message of the error."""
    try:
        dv.npk_gram(dense(), examples(), store, workers=1)
    except RunError as error:
        return None, str(error)
    return chunks(store), None


@settings(max_examples=15)  # each computes blocks and reads a store
@given(data=st.data())
def test_damage_is_refused_or_mended(tmp_path_factory, undamaged, data):
    store = tmp_path_factory.mktemp("damaged") / "store"
    shutil.copytree(undamaged, store)
    harmed = store / data.draw(st.sampled_from(FILES))
    harmed.write_bytes(data.draw(damaged(harmed.read_bytes())))
    before = snapshot(store)
    found, message = _outcome(store)
    if harmed.suffix != ".json" or message is None:
        ours = {name for name in FILES if not name.endswith(".json")}
        whole = chunks(undamaged)
        assert {name: found[name] for name in ours} == {name: whole[name] for name in ours}
    else:
        assert "Repair: " in message
        assert re.search("expected|holds the Gram matrix of something else", message)
        assert snapshot(store) == before


@pytest.mark.parametrize(
    "content", ["{}", "[]", "null", '{"zarr_format": 3, "node_type": "group"}']
)
@pytest.mark.parametrize("file", ["zarr.json", "gram/zarr.json"])
def test_other_descriptions_are_refused(tmp_path, undamaged, file, content):
    store = tmp_path / "store"
    shutil.copytree(undamaged, store)
    (store / file).write_text(content)
    with pytest.raises(RunError, match=r"expected .* got .* Repair"):
        dv.npk_gram(dense(), examples(), store)


@pytest.mark.parametrize("changed", ["fingerprints", "options", "versions", "block"])
def test_lost_attributes_are_refused(tmp_path, undamaged, changed):
    store = tmp_path / "store"
    shutil.copytree(undamaged, store)
    text = (store / "zarr.json").read_text()
    assert f'"{changed}"' in text
    (store / "zarr.json").write_text(text.replace(f'"{changed}"', '"lost"'))
    with pytest.raises(RunError, match=r"expected|block=None"):
        dv.npk_gram(dense(), examples(), store)


def test_zarr_tells_of_an_altered_chunk(tmp_path, undamaged):
    store = tmp_path / "store"
    shutil.copytree(undamaged, store)
    chunk = store / "gram/c/1/2"
    chunk.write_bytes(b"\1" + chunk.read_bytes()[1:])
    with pytest.raises(ValueError, match="checksum"):
        zarr.open_array(store / "gram", mode="r")[:]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blocks_at_the_edges_count(x, tmp_path, dtype):
    """A chunk at the edge is stored whole; were its size expected less, it would never be done."""
    store = GramStore(tmp_path / "s", (5, 4), 3, symmetric=False, dtype=dtype)
    with store.locked():
        store.create({"format": room.FORMAT})
        assert store.missing() == store.blocks == [(0, 0), (0, 1), (1, 0), (1, 1)]
        store.write((1, 1), np.ones((2, 1), dtype))
        assert store.missing() == [(0, 0), (0, 1), (1, 0)]
    array = store.array()
    assert array.dtype == dtype
    assert np.isnan(array[:]).sum() == 5 * 4 - 2


def test_parts_of_a_killed_process_are_swept_away(x, tmp_path):
    store = tmp_path / "store"
    dv.npk_gram(dense(), x, store, block=BLOCK)
    parts = [store / "zarr.1f.partial", store / "gram/c/0/0.2e.partial"]
    for part in parts:
        part.write_bytes(b"half")
    dv.npk_gram(dense(), x, store, block=BLOCK)
    assert not any(part.exists() for part in parts)


@pytest.mark.parametrize("name", ["gram", "gram/done", "gram/lock", "gram/c", "gram/zarr.json"])
def test_links_out_of_a_store_are_not_followed(x, tmp_path, undamaged, name):
    store, outside = tmp_path / "store", tmp_path / "outside"
    shutil.copytree(undamaged, store)
    (store / name).rename(outside)
    (store / name).symlink_to(outside)
    before = {path: path.is_file() and path.read_bytes() for path in outside.rglob("*")}
    for overwrite in (False, True):
        with pytest.raises(RunError, match="a link or device"):
            dv.npk_gram(dense(), x, store, block=BLOCK, overwrite=overwrite)
    assert {path: path.is_file() and path.read_bytes() for path in outside.rglob("*")} == before


def test_links_made_meanwhile_are_not_followed(tmp_path):
    store, outside = tmp_path / "s", tmp_path / "outside"
    outside.write_text("mine")
    filling = GramStore(store, (1, 1), 1, symmetric=True, dtype="float32")
    with filling.locked():
        filling.create({"format": room.FORMAT})
        (store / "gram/done/0-0").symlink_to(outside)
        with pytest.raises(OSError, match="symbolic link"):
            filling.write((0, 0), np.ones((1, 1), np.float32))
    (store / "gram/lock").unlink()
    (store / "gram/lock").symlink_to(outside)
    with pytest.raises(RunError, match="got a link"), filling.locked():
        pass
    assert outside.read_text() == "mine"


def test_mark_comes_after_the_flushed_chunks(tmp_path, monkeypatch):
    store = GramStore(tmp_path / "s", (2, 2), 1, symmetric=True, dtype="float32")
    done, events = tmp_path / "s/gram/done", []
    flush = room._flush

    def noted(path):
        flush(path)
        events.append((path.relative_to(tmp_path / "s/gram/c").as_posix(), any(done.iterdir())))

    monkeypatch.setattr(room, "_flush", noted)
    with store.locked():
        store.create({"format": room.FORMAT})
        store.write((0, 1), np.ones((1, 1), np.float32))
    assert events == [(path, False) for path in ("0/1", "0", "1/0", "1")]
    assert [path.name for path in done.iterdir()] == ["0-1"]


# Full disks


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


FULL = textwrap.dedent(
    """
    import shutil, sys
    from contextlib import suppress
    from pathlib import Path
    import dualview as dv
    from dualview.errors import PathKernelError
    from dualview.path_kernel.gram.store import GramStore
    from tests.path_kernel.gram.cases import BLOCK, dense, examples

    disk, copy = map(Path, sys.argv[1:])
    write, computed = GramStore.write, []
    def counted(self, block, values):
        write(self, block, values)
        computed.append(block)
    GramStore.write = counted

    def call():
        try:
            dv.npk_gram(dense(), examples(), disk / "store", block=BLOCK, workers=1)
        except PathKernelError as error:
            print(len(computed), str(error).removeprefix(f"{disk}/"))

    (disk / "ballast").write_bytes(bytes(72_000))
    call()
    with suppress(OSError), (disk / "more").open("wb", buffering=0) as stream:
        while stream.write(bytes(512)):
            pass
    call()  # no room for anything, not even for the number of the process
    (disk / "ballast").unlink()
    (disk / "more").unlink()
    call()
    assert len(set(computed)) == len(computed)
    shutil.copytree(disk / "store", copy)
    print(len(computed))
    """
)


def test_disk_that_really_fills(tmp_path):
    disk, copy, whole = tmp_path / "disk", tmp_path / "copy", tmp_path / "whole"
    script = [sys.executable, "-c", FULL, str(disk), str(copy)]
    first, second, last = run_on_small_disk(disk, "128k", script)
    finished = int(first.split()[0])
    assert 0 < finished < 10
    expected = (
        f"{finished} store: cannot write (No space left on device); {finished} of 10 blocks are "
        "finished and kept. Repair: make room, then call again with the same arguments to go on"
    )
    assert first == second == expected
    assert last == "10"
    dv.npk_gram(dense(), examples(), whole, block=BLOCK)
    assert chunks(copy) == chunks(whole)
