"""Properties proved here.

1. Each wrong use is one line that names the option and what was expected, the nearest choice or
   option where there is one, and where help is; it ends with status 2.
2. Help keeps the line breaks of its text and shows defaults, where there are any.
"""

import argparse

import pytest
from jsonargparse import Namespace

from dualview.cli.parser import WRONG_USE, Parser, die, switch


@pytest.fixture
def parser():
    parser = Parser(prog="tool", description="First line.\nSecond line.", epilog="one\n  two")
    parser.add_argument("--config", action="config")
    parser.add_argument("--learning-rate", type=float | None, help="of descent; 5 % is much")
    parser.add_argument("--size", type=int, default=3, help="how large")
    parser.add_argument("--share", type=float, default=0.0, help="of it")
    parser.add_argument("--how", choices=["gently", "roughly"], default="gently", help="in which")
    parser.add_argument("--numbers", nargs="+", type=int)
    parser.add_argument("--many", nargs="+", type=str, default=["a", "b"], help="words")
    parser.add_argument("--norm", action=argparse.BooleanOptionalAction, help="or not")
    switch(parser, "flip", "turn over")
    return parser


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning-rat", "1"], "unknown option --learning-rat; did you mean '--learning-rate'?"),
        (["--sise=1"], "unknown option --sise; did you mean '--size'?"),
        (["--lr", "1"], "unknown option --lr; did you mean '--learning-rate'?"),
        (["--zzz"], "unknown option --zzz"),
        (["--how", "gentle"], "--how: expected one of gently, roughly, got 'gentle'; did you mean"),
        (["--size", "big"], "--size: expected a whole number, got 'big'"),
        (["--size", "1.5"], "--size: expected a whole number, got '1.5'"),
        (["--learning-rate", "x"], "--learning-rate: expected a number, got 'x'"),
        (["--numbers", "1", "two"], "--numbers: expected a whole number, got 'two'"),
        (["--many"], "argument --many: expected at least one argument"),
        (["--config", "no.yaml"], "--config: File does not exist"),
        (["--flip=maybe"], "--flip: expected no value, or --no-flip to turn it off, got 'maybe'"),
        (["--norm=maybe"], "--norm: expected no value, or --no-norm to turn it off, got 'maybe'"),
    ],
)
def test_wrong_use_is_one_line(parser, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(arguments)
    assert stop.value.code == WRONG_USE
    error, tip = capsys.readouterr().err.splitlines()
    assert error.startswith(f"tool: error: {message}")
    assert tip == "See tool --help."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sise: 3", "'sise'; did you mean 'size'?"),
        ("size: big", "--size: expected a whole number, got 'big'"),
        ("how: gentle", "--how: expected one of gently, roughly, got 'gentle'; did you mean"),
        ("many: a", "many: expected a list in the file, as in [first, second]"),
        ("many: 3", "many: expected a list in the file, as in [first, second]"),
        ("flip: maybe", "flip: expected true or false, got 'maybe'"),
        ("a: [", "Problems parsing config"),
    ],
)
def test_wrong_files_are_one_line(parser, capsys, tmp_path, content, message):
    (tmp_path / "options.yaml").write_text(content)
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--config", str(tmp_path / "options.yaml")])
    assert stop.value.code == WRONG_USE
    error, _ = capsys.readouterr().err.splitlines()
    assert message in error


def test_the_command_line_wins_over_the_file(parser, tmp_path):
    (tmp_path / "options.yaml").write_text("size: 7\nmany: [x]\nflip: true\nlearning-rate: 0.5\n")
    options = parser.parse_args(["--config", str(tmp_path / "options.yaml"), "--size", "8"])
    assert isinstance(options, Namespace)
    assert (options.size, options.many, options.flip, options.learning_rate) == (
        8,
        ["x"],
        True,
        0.5,
    )


def test_help_shows_defaults_where_there_are_any(parser, capsys):
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "First line.\nSecond line.\n" in text
    assert text.endswith("one\n  two\n")
    words = " ".join(text.split())
    assert "of descent; 5 % is much --size" in words
    assert "how large (default: 3)" in words
    assert "of it (default: 0.0)" in words
    assert "words (default: a b)" in words
    assert words.endswith("turn over one two")
    assert "type:" not in words


def test_die(capsys):
    assert die("tool", "no", 1) == 1
    assert capsys.readouterr().err == "tool: error: no\n"
