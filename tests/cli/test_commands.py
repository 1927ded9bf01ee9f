"""Properties proved here, of the table of commands.

1. Every command says of itself what help needs, and help of all of them names it.
2. The examples of its help are understood by its own parser.
3. What ends a command decides the exit status: wrong use 2, what the package or the system refuses
   1, Ctrl-C 130; one line says why, a traceback only with --debug.
4. The command to go on with repeats the words given, but not --overwrite.
"""

from __future__ import annotations

import re
import shlex

import pytest

from dualview.cli import commands
from dualview.cli.commands import COMMANDS, build_parser, run_command
from dualview.errors import DataError, RunError
from dualview.training import SettingsError

BY_NAME = {command.NAME: command for command in COMMANDS}


def test_names_are_unique_and_in_help():
    text = build_parser().format_help()
    assert len(BY_NAME) == len(COMMANDS)
    for name, command in BY_NAME.items():
        assert re.search(rf"^    {name} ", text, re.MULTILINE), name
        assert command.HELP[0].islower()
        assert not command.HELP.endswith(".")
        assert command.DESCRIPTION.strip()


@pytest.mark.parametrize("name", BY_NAME)
def test_examples_are_understood(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("epochs: 3\n")
    examples = re.findall(r"^  (dualview .*)$", BY_NAME[name].EPILOG, re.MULTILINE)
    assert examples
    for example in examples:
        program, *words = shlex.split(example.partition(" > ")[0])
        if "--print_config" not in words:
            assert build_parser().parse_args(words).command == name
        assert program == "dualview"


def _ends_in(monkeypatch, error):
    def run(options, again):
        raise error

    monkeypatch.setattr(commands.demo, "run", run)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SettingsError("epochs: no"), 2),
        (DataError("no data"), 1),
        (RunError("no run"), 1),
        (OSError("no room"), 1),
    ],
)
def test_exit_status(monkeypatch, capsys, error, status):
    _ends_in(monkeypatch, error)
    assert run_command(["demo"]) == status
    assert capsys.readouterr().err == f"dualview demo: error: {error}\n"
    with pytest.raises(type(error)):
        run_command(["demo", "--debug"])


def test_interrupted(monkeypatch, capsys):
    _ends_in(monkeypatch, KeyboardInterrupt())
    assert run_command(["demo"]) == 130
    assert capsys.readouterr().err == ""


def test_a_fault_of_the_program_is_a_traceback(monkeypatch):
    _ends_in(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run_command(["demo"])


def test_to_go_on_is_not_to_start_over(monkeypatch):
    told = []
    monkeypatch.setattr(commands.demo, "run", lambda options, again: told.append(again) or 0)
    assert run_command(["demo", "--overwrite", "--out", "a b"]) == 0
    assert told == ["dualview demo --out 'a b'"]


def test_no_command(capsys):
    assert run_command([]) == 2
    assert "usage: dualview COMMAND" in capsys.readouterr().err
