"""Properties proved here.

1. A folder is held by one process at a time, which the other's message names with its machine and
   since when, and let go at the end, whatever happened.
2. What stands where the lock would be and is no lock stays as it is, bytes and all: links, hard
   links, pipes, folders, somebody's file.
3. Inside a folder that was given, links are not followed.
4. A lock that is not kept is gone at the end, and another's in its place stays; who opened it
   before it went takes a new one.
"""

import fcntl
import os
import re
import socket

import pytest

from dualview.errors import RunError
from dualview.files.locking import (
    LOCK,
    HeldError,
    expect_no_link,
    holder,
    locked,
    make_own_folder,
    touch,
)


def held(folder):
    return locked(folder, "is writing here", "choose another folder")


def test_one_process_at_a_time(tmp_path):
    out = tmp_path / "deep" / "out"
    who = f"process {os.getpid()} on {socket.gethostname()}, since 20..-..-..T..:..:..\\+00:00,"
    with held(out):
        with pytest.raises(HeldError, match=f"out: {who} is writing here. Repair: wait"), held(out):
            pass
        assert re.fullmatch(who, holder(out))
    assert holder(out) is None
    assert holder(tmp_path / "nowhere") is None
    assert (out / LOCK).read_text() == ""
    with pytest.raises(KeyError), held(out):
        raise KeyError
    with held(out):
        pass


@pytest.mark.parametrize("left", ["", "123\n", "123 host\n", "123 host 2026-01-01T00:00:00Z\n"])
def test_what_a_killed_process_left(tmp_path, left):
    (tmp_path / LOCK).write_text(left)
    with held(tmp_path):
        assert (tmp_path / LOCK).read_text().startswith(f"{os.getpid()} ")


def refused(folder, match):
    with pytest.raises(RunError, match=match), held(folder):
        pass


def test_links_are_not_followed(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.write_text("123\n")
    folder.mkdir()
    for target in (outside, tmp_path / "nowhere"):
        (folder / LOCK).symlink_to(target)
        refused(folder, r"\.lock: expected .* got a link to .* not followed")
        (folder / LOCK).unlink()
    (folder / LOCK).hardlink_to(outside)
    refused(folder, "got another file, which stays. Repair: choose another folder")
    assert outside.read_text() == "123\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "outside"]


def test_what_is_no_lock(tmp_path):
    lock = tmp_path / LOCK
    lock.write_text("years of work")
    refused(tmp_path, "got another file, which stays")
    assert lock.read_text() == "years of work"
    lock.unlink()
    os.mkfifo(lock)
    refused(tmp_path, "got another file, which stays")
    lock.unlink()
    lock.mkdir()
    refused(tmp_path, "expected a folder to write to")


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "expected a folder to write to, got FileExistsError")
    refused(tmp_path / "a\0b", "expected a folder to write to, got ValueError")


def passing(folder):
    return locked(folder, "is writing here", "choose another folder", kept=False)


def test_a_lock_that_is_not_kept(tmp_path, monkeypatch):
    with passing(tmp_path):
        assert (tmp_path / LOCK).exists()
    assert list(tmp_path.iterdir()) == []
    with passing(tmp_path):
        (tmp_path / LOCK).rename(tmp_path / "moved")
        (tmp_path / LOCK).write_text("of another")
    assert (tmp_path / LOCK).read_text() == "of another"


def test_a_lock_that_went_while_it_was_opened(tmp_path, monkeypatch):
    (tmp_path / LOCK).touch()
    flock = fcntl.flock

    def late(handle, how):
        monkeypatch.setattr(fcntl, "flock", flock)
        (tmp_path / LOCK).unlink()
        return flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with passing(tmp_path):
        assert (tmp_path / LOCK).read_text().startswith(f"{os.getpid()} ")


def test_own_folders_and_files(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    link = tmp_path / "tables"
    link.symlink_to(outside)
    with pytest.raises(RunError, match=r"link to .*outside, which is not followed\. Repair: x"):
        make_own_folder(link, "x")
    make_own_folder(tmp_path / "a" / "b", "x")
    make_own_folder(tmp_path / "a" / "b", "x")
    assert (tmp_path / "a" / "b").is_dir()
    touch(tmp_path / "file")
    (tmp_path / "file").write_text("kept")
    touch(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"
    (tmp_path / "link").symlink_to(outside / "new")
    with pytest.raises(OSError, match="symbolic link"):
        touch(tmp_path / "link")
    assert list(outside.iterdir()) == []
    expect_no_link(tmp_path / "none", "x")
