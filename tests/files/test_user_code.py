"""Python files and modules that the user names.

- A file is found by its path and a module by its name, with what lies beside it; data classes with
  postponed annotations and pickled classes in a file work. A file is run once, and anew if changed.
- What cannot be imported is refused, with its name and the reason, in the caller's own error.
"""

import os
import pickle
import sys

import pytest

from dualview.errors import ArchitectureError
from dualview.files.user_code import imported

TEXT = """
from __future__ import annotations
from dataclasses import dataclass, field
import beside

RUNS = beside.RUNS
RUNS.append(1)

@dataclass
class Own:
    size: int = 3
    more: list[int] = field(default_factory=list)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "beside", raising=False)
    (tmp_path / "beside.py").write_text("RUNS = []\n")
    (tmp_path / "mine.py").write_text(TEXT)
    return tmp_path


def test_a_file(folder):
    path = folder / "mine.py"
    module = imported(str(path), "a thing", ArchitectureError)
    assert pickle.loads(pickle.dumps(module.Own(4))) == module.Own(4)
    assert imported(str(path), "a thing", ArchitectureError) is module
    assert module.RUNS == [1]
    path.write_text(TEXT + "EXTRA = 1\n")
    assert imported(str(path), "a thing", ArchitectureError).EXTRA == 1
    assert module.RUNS == [1, 1]


def test_a_change_of_the_same_size_and_second_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "changing.py"
    for value in (1, 2):
        path.write_text(f"VALUE = {value}\n")
        os.utime(path, (10**9, 10**9))
        assert value == imported(str(path), "a value", ArchitectureError).VALUE


def test_a_module(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "own_part").mkdir()
    (folder / "own_part" / "own_inner.py").write_text("X = 5\n")
    assert imported("own_part.own_inner", "a thing", ArchitectureError).X == 5


@pytest.mark.parametrize(
    ("place", "text", "why"),
    [
        ("none.py", None, "FileNotFoundError"),
        ("no_such_module", None, "ModuleNotFoundError"),
        ("mine.py", "1 +", "SyntaxError"),
        ("mine.py", "raise KeyError('k')", "KeyError"),
        ("mine.py", "import no_such", "ModuleNotFoundError: No module named 'no_such'"),
    ],
)
def test_what_cannot_be_imported(folder, monkeypatch, place, text, why):
    monkeypatch.chdir(folder)
    if text is not None:
        (folder / place).write_text(text)
    before = set(sys.modules)
    with pytest.raises(ArchitectureError, match=f"{place}: expected a Python file .*, got {why}"):
        imported(place, "a thing", ArchitectureError)
    assert not {name for name in set(sys.modules) - before if name.startswith("dualview_own")}
