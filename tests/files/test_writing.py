"""Properties proved here.

1. A write that fails, at any point before it is complete, leaves the earlier file as it was, and
   nothing beside it; several files are replaced together or not at all.
2. What a killed process left is swept by the next write; what a living one is filling is spared.
3. A link at the target is replaced, and what it leads to stays; names and rights are as asked.
4. Whatever call of the system fails or kills on the way, the file is the earlier or the new one.
5. An error names the file, also that of a full disk, whichever library met it.
6. JSON that is not a number everywhere is refused, and no file appears.
7. What is read is what was written; what is no JSON object, or holds NaN, is a ValueError.
"""

import errno
import json
import os
import tempfile
import threading
from contextlib import suppress

import pytest

from dualview.errors import RunError
from dualview.files.writing import (
    is_part,
    read_json,
    sweep,
    write_atomically,
    write_json,
    write_text,
    write_together,
)
from tests.processes import kill, start


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("earlier")

    def fail(part):
        part.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail)
    assert path.read_text() == "earlier"
    assert names(tmp_path) == ["file"]
    write_atomically(path, lambda part: part.write_text("whole"))
    assert path.read_text() == "whole"
    assert names(tmp_path) == ["file"]


def test_together_or_not_at_all(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"

    def fail(part):
        assert not first.exists()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_together([(first, lambda part: part.write_text("1")), (second, fail)])
    assert names(tmp_path) == []
    write_together([(p, lambda part: part.write_text("2")) for p in (first, second)])
    assert names(tmp_path) == ["first", "second"]


def _write_slowly(path):
    def write(part):
        part.write_text("half")
        (path.parent / "begun").touch()
        threading.Event().wait(60)

    write_atomically(path, write)


def test_leftovers_of_the_killed_are_swept_and_no_others(tmp_path):
    path = tmp_path / "file"
    process = start(_write_slowly, path)
    while not (tmp_path / "begun").exists():
        assert process.is_alive()
    write_text(path, "meanwhile")
    sweep(tmp_path)
    assert len([name for name in names(tmp_path) if is_part(name)]) == 1
    kill(process)
    write_text(tmp_path / "other", "")
    assert len([name for name in names(tmp_path) if is_part(name)]) == 1
    write_text(path, "whole")
    assert names(tmp_path) == ["begun", "file", "other"]


def test_what_is_no_leftover_stays(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "thesis").touch()
    (tmp_path / "file.12345678.part").symlink_to("outside")
    (tmp_path / "essay.part").mkdir()
    (tmp_path / "file.87654321.part").touch()
    sweep(tmp_path)
    write_text(tmp_path / "file", "")
    left = ["essay.part", "file", "file.12345678.part", "file.87654321.part", "outside"]
    assert names(tmp_path) == left
    assert names(tmp_path / "outside") == ["thesis"]


def test_swept_before_it_was_held(tmp_path, monkeypatch):
    make, made = tempfile.mkdtemp, []

    def swept(*arguments):
        made.append(make(*arguments))
        if len(made) == 1:
            os.rmdir(made[0])  # noqa: PTH106
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", swept)
    write_text(tmp_path / "file", "whole")
    assert len(made) == 2
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("leads_to", ["outside", "nowhere"])
def test_links_are_replaced(tmp_path, leads_to):
    (tmp_path / "outside").write_text("mine")
    link = tmp_path / "folder" / "file"
    link.parent.mkdir()
    link.symlink_to(tmp_path / leads_to)
    write_text(link, "written")
    assert not link.is_symlink()
    assert link.read_text() == "written"
    assert (tmp_path / "outside").read_text() == "mine"
    assert names(tmp_path) == ["folder", "outside"]


@pytest.mark.parametrize("name", ["a" * 255, "ü" * 127, os.fsdecode(b"caf\xe9")])
def test_any_name(tmp_path, name):
    write_text(tmp_path / name, os.fsdecode(b"caf\xe9"))
    assert (tmp_path / name).read_text() == "caf?"
    assert names(tmp_path) == [name]


def test_rights_are_those_of_new_files(tmp_path):
    def for_the_owner(part):
        part.unlink()
        part.touch(0o600)

    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", for_the_owner)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


class Killed(BaseException):
    """The process ends here: nothing may be tidied up any more."""


STEPS = ("mkdir", "open", "flock", "chmod", "fsync", "rename", "replace", "rmdir", "unlink")


@pytest.mark.parametrize("dies", [OSError(errno.EIO, "broken"), Killed()])
def test_every_step_may_fail(tmp_path, monkeypatch, dies):
    """One step after the other, until a write comes through."""
    import fcntl

    for n in range(100):
        path = tmp_path / str(n) / "file"
        path.parent.mkdir()
        path.write_text("earlier")
        left, dead = n, False

        def counted(real):
            def call(*arguments, **options):
                nonlocal left, dead
                left -= 1
                if left < 0 and (not dead or isinstance(dies, Killed)):
                    dead = True
                    raise dies
                return real(*arguments, **options)

            return call

        with monkeypatch.context() as patch:
            for step in STEPS:
                owner = fcntl if step == "flock" else os
                patch.setattr(owner, step, counted(getattr(owner, step)))
            with suppress(type(dies)):
                write_text(path, "new")
        assert path.read_text() in ("earlier", "new")
        if not dead:
            break
        write_text(path, "newer")
        assert path.read_text() == "newer"
        assert names(path.parent) == ["file"]
    assert n >= 5
    assert path.read_text() == "new"


@pytest.mark.parametrize(
    "full",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail] PytorchStreamWriter failed: file write failed"),
    ],
)
def test_a_full_disk_is_named(tmp_path, full):
    def fails(part):
        raise full

    path = tmp_path / "file"
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_atomically(path, fails)
    assert caught.value.filename == str(path)
    assert str(path) in str(caught.value)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write_text(tmp_path / "none" / "file", "")
    assert caught.value.filename == str(tmp_path / "none" / "file")


def test_other_errors_stay_as_they_are(tmp_path):
    def fails(part):
        raise RuntimeError("of the caller")

    with pytest.raises(RuntimeError, match="of the caller"):
        write_atomically(tmp_path / "file", fails)


def test_json_round_trip(tmp_path):
    value = {"a": [1, 2.5, None], "b": {"ü": True}}
    write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == value
    assert read_json(tmp_path / "x.json") == value


def test_json_refuses_what_is_no_number(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"null", b'{"a": NaN}', b'{"a": -Infinity}', b"\xff", b"[" * 10**5],
)
def test_what_is_no_json_object_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011  the decoder's own messages differ
        read_json(tmp_path / "x.json")


def test_a_pipe_or_a_device_is_never_replaced(tmp_path):
    """An administrator who writes to /dev/null would otherwise put a file in its place."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(RunError, match="expected a file to replace, got a device or a pipe"):
        write_text(pipe, "text")
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
