"""The command line's parser: jsonargparse, with shorter errors and plainer help."""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any, NoReturn

from dualview.cli.yaml_size import expect_small, expect_small_file
from dualview.errors import did_you_mean, needs

with needs("train", "the command line"):
    from jsonargparse import ActionYesNo, ArgumentParser, DefaultHelpFormatter

WRONG_USE = 2
"""Exit status for options that cannot be understood."""


class HelpFormatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the line breaks of descriptions, and shows a default only where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        default = action.default
        if default in (None, []) or isinstance(default, bool) or default == argparse.SUPPRESS:
            return text
        shown = " ".join(default) if isinstance(default, list | tuple) else str(default)
        return f"{text} (default: {shown})"


class Parser(ArgumentParser):
    """Says in one line what is wrong and what is near, and where help is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", HelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        """As jsonargparse does it; whatever it meets in a file is wrong use, not a traceback."""
        try:
            options = super().parse_args(*args, **kwargs)
        except Exception as error:
            self.error(
                "expected options as --help lists them, or a YAML file of them in UTF-8, got what "
                f"cannot be read ({type(error).__name__}: {str(error)[:200]})"
            )
        self._refuse_nulls(options)
        return options

    def parse_path(self, cfg_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As jsonargparse does it, once the file is seen to be plain and small."""
        try:
            expect_small_file(cfg_path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise TypeError(f"--config: {cfg_path}: {reason}") from error
        return super().parse_path(cfg_path, *args, **kwargs)

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Any:
        """As jsonargparse does it, once the text is seen to stand for few values."""
        try:
            expect_small(content)
        except ValueError as error:
            raise TypeError(str(error)) from error
        return super().parse_string(content, *args, **kwargs)

    def _refuse_nulls(self, options: Any) -> None:
        """What has a default is never nothing; jsonargparse lets `null` pass."""
        for action in self._actions:
            default = action.default
            if default is None or default == argparse.SUPPRESS or action.dest not in options:
                continue
            if options[action.dest] is None:
                name = _option(action.dest, self)
                self.error(f"{name}: expected a value, got null; leave it out for its default")

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the message, and end with status 2."""
        parser = getattr(ex, "subcommand_parser", None) or self
        text = tidy(message, parser)
        self.exit(WRONG_USE, f"{parser.prog}: error: {text}\nSee {parser.prog} --help.\n")


def tidy(message: str, parser: ArgumentParser) -> str:
    """The library's message in one line, with the nearest choice or option if there is one."""
    options = [name for action in parser._actions for name in action.option_strings]
    if found := re.match(r"unrecognized arguments: (--[^\s=]+)(.*)", message):
        return f"unknown option {found[1]}{_near_option(found[1], options)}"
    if found := re.match(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", message):
        choices = found[3].replace("'", "").split(", ")
        expected = f"expected one of {', '.join(choices)}, got {found[2]!r}"
        return f"{found[1]}: {expected}{did_you_mean(found[2], choices)}"
    if found := re.search(r"(?:does not accept option|^Option) '(.*?)'", message):
        keys = [action.dest for action in parser._actions]
        return f"unknown option {found[1]!r}{did_you_mean(found[1], keys)}"
    if found := re.match(r'Parser key "(.*?)"(?: element \d+)?:(.*)', message, re.DOTALL):
        return f"{_option(found[1], parser)}: {_tidy_value(found[2])}"
    if found := re.match(r"argument (\S+?)/(\S+): ignored explicit argument '(.*)'", message):
        return f"{found[1]}: expected no value, or {found[2]} to turn it off, got {found[3]!r}"
    return _tidy_file(message, parser)


def _tidy_file(message: str, parser: ArgumentParser) -> str:
    """What jsonargparse says of values in a file without naming their key."""
    if found := re.match(r"Value not boolean: (.*)\.$", message):
        names = [a.dest for a in parser._actions if isinstance(a, ActionYesNo)]
        return f"{' or '.join(names)}: expected true or false, got {found[1]!r}"
    if re.match(r"'\w+' object (does not support item assignment|is not iterable)", message):
        names = [action.dest for action in parser._actions if action.nargs == "+"]
        return f"{' or '.join(names)}: expected a list in the file, as in [first, second]"
    return " ".join(message.split())


OTHER_NAMES = {"--lr": "--learning-rate", "--model": "--arch", "--gpus": "--devices"}
"""What other programs call an option."""


def _near_option(option: str, options: list[str]) -> str:
    other = OTHER_NAMES.get(option)
    return f"; did you mean {other!r}?" if other in options else did_you_mean(option, options)


def _option(key: str, parser: ArgumentParser) -> str:
    """A config key as the option that sets it."""
    for action in parser._actions:
        if action.dest == key.rpartition(".")[2] and action.option_strings:
            return action.option_strings[0]
    return key


_TYPE_NAMES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}


def _tidy_value(text: str) -> str:
    """What jsonargparse says of a value that has the wrong type."""
    if found := re.search(r"(.*) not among choices \[(.*)\]", text):
        choices = found[2].replace("'", "").split(", ")
        given = found[1].strip().strip("'")
        hint = did_you_mean(given, choices)
        return f"expected one of {', '.join(choices)}, got {given!r}{hint}"
    given = re.search(r"(?:Given|Got) value: (.*)", text)
    types = re.findall(r"Expected an? <class '(\w+)'>", text)
    names = [_TYPE_NAMES[name] for name in dict.fromkeys(types) if name in _TYPE_NAMES]
    if given and names:
        return f"expected {' or '.join(names)}, got {given[1]!r}"
    return " ".join(text.split())


def switch(parser: Any, name: str, help: str, default: bool = False) -> None:
    """Add `--name` and `--no-name`."""
    action = ActionYesNo(yes_prefix="", no_prefix="no-")
    parser.add_argument(f"--{name}", action=action, default=default, help=help)


def die(name: str, message: str, status: int) -> int:
    """Print one clean line on standard error; returns the status."""
    print(f"{name}: error: {message}", file=sys.stderr)
    return status
