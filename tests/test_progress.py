"""Properties proved here.

1. In a terminal or a notebook work has a bar with its title, which is gone at the end; elsewhere it
   has a line at its start, and nothing where there is nothing to do.
2. What is counted reaches the bar; where nobody sees one, `tell` hears of every tenth, of work that
   goes on too. How long it should take stands on the bar until the first are done.
3. A line can be written while a bar is drawn; a status is for terminals alone.
4. Without tqdm there are lines and counts, and no bars.
5. No other file draws.
"""

import io
import sys
from pathlib import Path

import pytest

import dualview
from dualview import progress
from dualview.progress import Terminal, Unseen


class Screen(io.StringIO):
    def isatty(self):
        return True


class Notebook(io.StringIO):
    pass


Notebook.__module__ = "ipykernel.iostream"


@pytest.mark.parametrize("stream", [Screen(), Notebook()], ids=["terminal", "notebook"])
def test_a_bar_where_somebody_looks(stream):
    assert list(Terminal(stream).over([1, 2, 3], "examples")) == [1, 2, 3]
    shown = stream.getvalue()
    assert "examples:   0%" in shown
    assert shown.rpartition("\r")[2] == ""
    assert shown.split("\r")[-2].strip() == ""


def test_a_line_elsewhere():
    stream = io.StringIO()
    terminal = Terminal(stream)
    assert list(terminal.over([1, 2], "examples")) == [1, 2]
    assert list(terminal.over([], "nothing")) == []
    assert stream.getvalue() == "examples\n"


def test_counted_on_a_bar():
    stream = Screen()
    with Terminal(stream).counting(8, "blocks", unit="block", done=2, tell=pytest.fail) as advance:
        advance(3)
        advance(3)
    assert "blocks:  25%" in stream.getvalue()


def test_what_is_expected_until_it_is_known_better():
    stream = Screen()
    terminal = Terminal(stream)
    with terminal.counting(8, "blocks", unit="block", expected="about an hour") as advance:
        assert "about an hour" in stream.getvalue()
        before = len(stream.getvalue())
        advance(8)
    assert "about an hour" not in stream.getvalue()[before:]
    assert "8/8" in stream.getvalue()[before:]


@pytest.mark.parametrize("shown", [Terminal(io.StringIO()), Unseen()])
@pytest.mark.parametrize(
    ("total", "done", "steps", "told"),
    [
        (4, 0, [1, 1, 1, 1], [1, 2, 3, 4]),
        (20, 0, [1] * 20, list(range(2, 21, 2))),
        (30, 27, [1, 1, 1], [30]),
        (10, 0, [4, 6], [4, 10]),
    ],
)
def test_told_of_tenths(shown, total, done, steps, told):
    heard: list[int] = []
    with shown.counting(total, "blocks", unit="block", done=done, tell=heard.append) as advance:
        for step in steps:
            advance(step)
    assert heard == told
    with shown.counting(total, "blocks", unit="block") as advance:
        advance(total)


def test_nobody_looks(capsys):
    assert list(Unseen().over([1, 2], "examples")) == [1, 2]
    Unseen().note("begins")
    assert capsys.readouterr() == ("", "")


def test_lines_and_status():
    screen, file = Screen(), io.StringIO()
    for stream in (screen, file):
        Terminal(stream).note("a line")
        Terminal(stream).status("busy " * 50)
    assert file.getvalue() == "a line\n"
    assert screen.getvalue() == f"a line\n\r\033[K{('busy ' * 50)[:98]}\r"


def test_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    stream = Screen()
    assert list(Terminal(stream).over([1, 2], "examples")) == [1, 2]
    with Terminal(stream).counting(2, "blocks", unit="block") as advance:
        advance(2)
    assert stream.getvalue() == "examples\n"


def test_no_other_file_draws():
    files = Path(dualview.__file__).parent.rglob("*.py")
    assert [file for file in files if "import tqdm" in file.read_text(encoding="utf-8")] == [
        Path(progress.__file__)
    ]
