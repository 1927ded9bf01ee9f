"""Properties proved here, of the README, CONTRIBUTING.md and every page of docs/.

1. Their Python blocks run as they stand, in order, those of one page one after the other.
2. Their `dualview` commands are understood by the command line, `make` targets exist, and other
   commands that name a file of the repository name one that is there.
3. Every file of the repository that they name exists.
"""

import re
import shlex

import pytest

from dualview.cli import build_parser
from tests.docs.pages import PAGES, ROOT, blocks_of, name_of, with_blocks


@pytest.mark.parametrize("page", with_blocks("python"), ids=name_of)
def test_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for block in blocks_of(page, "python"):
        # Empty lines put the block where it is in the page, so that a traceback names its line.
        exec(compile("\n" * block.line + block.text, str(page), "exec"), names)


def commands(page):
    """Each command of the page's shell blocks as words, without comments."""
    for block in blocks_of(page, "bash"):
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


@pytest.mark.parametrize("page", with_blocks("bash"), ids=name_of)
def test_commands_are_understood(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in blocks_of(page, "yaml"):
        if block.title:
            (tmp_path / block.title).write_text(block.text)
    parser = build_parser()
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for program, *arguments in commands(page):
        if program == "dualview":
            parser.parse_args(arguments)
        elif program == "make":
            assert set(arguments) <= set(targets)


FILE = re.compile(r"`((?:src|tests|docs|benchmarks|results|\.ci)/[\w./-]+)`")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_exist(page):
    named = FILE.findall(page.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_there_are_blocks():
    assert len(with_blocks("python")) >= 10
    assert blocks_of(ROOT / "README.md", "python")
