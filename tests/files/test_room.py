"""How much memory is left.

- It is what the machine has left; a limit on the process, or on its container, makes it less, down
  to 0; without such files it is the machine's memory.
"""

import resource
import subprocess
import sys

import pytest

from dualview.files import room as module
from dualview.files.room import room


def test_a_limit_on_the_process():
    script = (
        "import resource; from dualview.files.room import room; before = room();"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30)); print(before, room())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    before, after = map(int, done.stdout.split())
    assert 0 < after < 2**30
    assert after <= before


def group(folder, most, current="100", stat="active_file 30\ninactive_file 20\n"):
    (folder / "memory.max").write_text(most)
    (folder / "memory.current").write_text(current)
    (folder / "memory.stat").write_text(stat)


def test_a_limit_on_the_container(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "GROUP", tmp_path)
    unlimited = module._of_container()
    assert unlimited == sys.maxsize
    group(tmp_path, "1000\n")
    assert room() == 1000 - 100 + 50  # files that are kept in memory are given up
    group(tmp_path, "max\n")
    assert module._of_container() == sys.maxsize
    group(tmp_path, "10")
    assert room() == 0


def test_without_such_files(monkeypatch):
    monkeypatch.setattr(module, "_lines", lambda path: [])
    assert room() > 2**20


@pytest.mark.parametrize("limit", [resource.RLIM_INFINITY])
def test_no_limit(limit, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))
    assert module._of_process() == sys.maxsize
