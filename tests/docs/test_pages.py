"""Properties proved here, of the README, CONTRIBUTING.md and every page of docs/.

1. Their Python blocks run as they stand, in order, those of one page one after the other; those
   that are titled with a file are that file, too.
2. Their `dualview` commands are understood by the command line, `make` targets exist, and other
   commands that name a file of the repository name one that is there.
3. Every file of the repository that they name exists.
4. Means with their spread are those of the page of results, which is made of records.
5. CONTRIBUTING.md places every room of the package, and no other.
"""

import re
import shlex
import sys
from fnmatch import fnmatch

import pytest

from dualview.cli.commands import build_parser
from tests.docs.pages import PAGES, ROOT, blocks_of, name_of, with_blocks


@pytest.mark.parametrize("page", with_blocks("python"), ids=name_of)
def test_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    names = {"__name__": "page"}
    for block in blocks_of(page, "python"):
        if block.title:
            (tmp_path / block.title).write_text(block.text)
            monkeypatch.delitem(sys.modules, block.title.removesuffix(".py"), raising=False)
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


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_means_are_those_of_the_records(page):
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    given = re.findall(r"\d+\.\d+ ± \d+\.\d+", page.read_text(encoding="utf-8"))
    assert [mean for mean in given if mean not in results] == []


def test_every_room_has_its_place():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("| From low to high |")[2].partition("\n\n")[0]
    places = [place.rstrip("/") for place in re.findall(r"`([^`]+)`", table)]
    rooms = {path.stem for path in (ROOT / "src" / "dualview").iterdir() if path.name[0].isalpha()}
    rooms.remove("py")  # the mark that the package has types
    assert {room for room in rooms if not any(fnmatch(room, place) for place in places)} == set()
    assert {place for place in places if not any(fnmatch(room, place) for room in rooms)} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_fences_are_those_of_the_site(page):
    # Of any other words behind the language the site makes no block, and swallows what follows.
    openings = re.findall(r"^```(\w.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert [o for o in openings if not re.fullmatch(r'\w+( title="[^"]+")?', o)] == []


def test_there_are_blocks():
    assert len(with_blocks("python")) >= 10
    assert blocks_of(ROOT / "README.md", "python")
