"""Files opened for reading.

- A plain file, or a link to one, is read whole; a named pipe, a folder, a device and a socket are
  refused at once, by their kind; so are a file that is missing and one that is too large.
"""

import os
import socket
from pathlib import Path

import pytest

from dualview.files.opening import bytes_of, expect_file, opened, text_of

KINDS = {
    "pipe": (os.mkfifo, "expected a file, got a named pipe"),
    "folder": (Path.mkdir, "expected a file, got a folder"),
    "link to a pipe": (
        lambda path: (os.mkfifo(f"{path}.target"), path.symlink_to(f"{path}.target")),
        "expected a file, got a named pipe",
    ),
    "link to a device": (
        lambda path: path.symlink_to("/dev/zero"),
        "expected a file, got a device",
    ),
    "nothing": (lambda path: None, "No such file or directory"),
    "link in a circle": (lambda path: path.symlink_to(path), "Too many levels"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read", [bytes_of, text_of, expect_file])
def test_what_is_no_file_is_refused(tmp_path, kind, read):
    make, message = KINDS[kind]
    make(tmp_path / "given")
    with pytest.raises(OSError, match=message) as caught:
        read(tmp_path / "given")
    assert str(tmp_path) in str(caught.value)


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(OSError, match="No such device or address"):
            expect_file("socket")


def test_files_and_links_are_read(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"caf\xc3\xa9")
    link.symlink_to(file)
    for path in (file, link, str(file)):
        assert bytes_of(path) == b"caf\xc3\xa9"
        assert text_of(path) == "café"
        with opened(path) as stream:
            assert stream.seek(1) == 1
            assert stream.read(2) == b"af"


def test_the_most_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert bytes_of(tmp_path / "file", most=5) == b"12345"
    with pytest.raises(OSError, match="at most 4 bytes"):
        bytes_of(tmp_path / "file", most=4)


def test_no_handle_is_left(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(OSError, match="named pipe"):
            expect_file(tmp_path / "pipe")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
