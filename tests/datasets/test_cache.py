"""The cache of decoded sources.

- What was stored comes back exactly, without reading the source again.
- Another size, time of change, path or option of the source's files gives another key.
- A damaged file, whatever bits are wrong, is discarded and made again; it never reaches the caller.
- A folder that cannot be written gives one warning and the data.
- A failure or an interruption leaves nothing behind, and what a killed process left is removed.
"""

import os
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualview.datasets import cache
from dualview.datasets.cache import cache_key, cached
from dualview.datasets.dataset import Examples, Source
from dualview.errors import DataError, DualviewWarning

from .files import pixels


def source():
    splits = {
        "train": Examples(pixels(4), np.array([0, 1, 0, 1])),
        "test": Examples(pixels(2, seed=1), np.array([1, 0])),
    }
    return Source(splits, ("cat", "döner"), frozenset({"PNG", "JPEG"}))


def never():
    raise AssertionError("the source was read again")


def assert_same(first, second):
    assert first.class_names == second.class_names
    assert first.formats == second.formats
    assert set(first.splits) == set(second.splits)
    for name, examples in first.splits.items():
        for field in ("images", "labels"):
            values, others = getattr(examples, field), getattr(second.splits[name], field)
            assert values.dtype == others.dtype
            np.testing.assert_array_equal(values, others)


def test_round_trip(cache_folder):
    assert_same(cached("key", source), source())
    assert_same(cached("key", never), source())
    assert [path.name for path in cache_folder.iterdir()] == ["key.npz"]


def test_key(tmp_path):
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"1234")
    other.write_bytes(b"1234")
    os.utime(path, ns=(0, 10**9))
    os.utime(other, ns=(0, 10**9))
    keys = [cache_key([path], {"x": None}), cache_key([other], {"x": None})]
    keys.append(cache_key([path, other], {"x": None}))
    keys.append(cache_key([path], {"x": "1"}))
    os.utime(path, ns=(0, 10**9 + 1))
    keys.append(cache_key([path], {"x": None}))
    path.write_bytes(b"12345")
    os.utime(path, ns=(0, 10**9))
    keys.append(cache_key([path], {"x": None}))
    assert len(set(keys)) == len(keys)
    assert cache_key([path], {"x": None}) == keys[-1]


def test_key_changes_with_the_format(monkeypatch):
    before = cache_key([], {})
    monkeypatch.setattr(cache, "FORMAT_VERSION", cache.FORMAT_VERSION + 1)
    assert cache_key([], {}) != before


def test_key_of_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="gone: cannot be read: No such file"):
        cache_key([tmp_path / "gone"], {})


@given(data=st.data())
def test_damage_is_made_good(tmp_path_factory, data):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("DUALVIEW_CACHE", str(folder))
        cached("key", source)
        content = bytearray((folder / "key.npz").read_bytes())
        if data.draw(st.booleans()):
            content = content[: data.draw(st.integers(0, len(content) - 1))]
        else:
            row = data.draw(st.integers(0, len(content) - 1))
            content[row] ^= data.draw(st.integers(1, 255))
        (folder / "key.npz").write_bytes(content)
        assert_same(cached("key", source), source())
        assert_same(cached("key", source), source())


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps([1])])
def test_foreign_content_is_discarded(cache_folder, content):
    (cache_folder / "key.npz").write_bytes(content)
    assert_same(cached("key", source), source())
    assert_same(cached("key", never), source())


def test_pickled_arrays_are_not_loaded(cache_folder):
    np.savez(cache_folder / "key.npz", images_train=np.array([{}], dtype=object))
    assert_same(cached("key", source), source())


def test_unwritable_folder_warns(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DUALVIEW_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(
        DualviewWarning, match=r"not kept.*choose another folder with DUALVIEW_CACHE"
    ):
        assert_same(cached("key", source), source())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_interrupted_write_leaves_nothing(cache_folder, monkeypatch, error):
    def half_written(file, **arrays):
        file.write(b"half")
        raise error

    monkeypatch.setattr(np, "savez", half_written)
    if isinstance(error, OSError):
        with pytest.warns(DualviewWarning, match="No space left"):
            cached("key", source)
    else:
        with pytest.raises(KeyboardInterrupt):
            cached("key", source)
    assert list(cache_folder.iterdir()) == []


def test_failed_reading_stores_nothing(cache_folder):
    def fail():
        raise DataError("bad")

    with pytest.raises(DataError, match="bad"):
        cached("key", fail)
    assert list(cache_folder.iterdir()) == []


def test_leftovers_of_killed_processes_are_removed(cache_folder):
    (cache_folder / "other.npz.a1b2c3d4.part").mkdir()
    cached("key", source)
    assert [path.name for path in cache_folder.iterdir()] == ["key.npz"]


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"DUALVIEW_CACHE": "/a"}, "/a"),
        ("linux", {"XDG_CACHE_HOME": "/b"}, "/b/dualview"),
        ("linux", {}, "/home/u/.cache/dualview"),
        ("darwin", {}, "/home/u/Library/Caches/dualview"),
        ("win32", {"LOCALAPPDATA": "/c"}, "/c/dualview"),
    ],
)
def test_folder(monkeypatch, platform, variables, expected):
    for name in ("DUALVIEW_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/u")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cache.sys, "platform", platform)
    assert cache.cache_folder().as_posix() == expected
