"""The commands, and the one that is run.

A command is a module with NAME, HELP, DESCRIPTION, EPILOG, `add_options(parser)` and
`run(options, again) -> exit status`, and with USAGE where it takes more than options; list it in
`COMMANDS`. What is heavy is imported in `run`, so that help is quick.

Exit status: `dualview.cli` lists them.
"""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from dualview.cli import (
    compare,
    demo,
    distil,
    evaluate,
    explain,
    explore,
    kernel,
    reproduce,
    results,
    tables,
    theory,
)
from dualview.cli.parser import WRONG_USE, Parser, die
from dualview.errors import DualviewError, DualviewWarning
from dualview.training import SettingsError

FAILED = 1
INTERRUPTED = 130

DESCRIPTION = """\
The dual view of ReLU networks: take a network apart into what decides its gates and what
the gates multiply, and compare the parts on data."""
EPILOG = """\
start with:
  dualview demo                 see it work, in a minute or two, without a download
  dualview compare --help       the same on data of your own, with other architectures"""


class Command(Protocol):
    """What a module in this package offers."""

    NAME: str
    HELP: str
    DESCRIPTION: str
    EPILOG: str

    @property
    def add_options(self) -> Callable[[Any], None]:
        """Adds the command's options to its parser."""

    @property
    def run(self) -> Callable[[Any, str], int]:
        """Does it, given the options and the command line that would repeat it."""


COMMANDS = tuple(
    cast(Command, module)
    for module in (
        demo,
        compare,
        distil,
        explore,
        explain,
        evaluate,
        reproduce,
        results,
        kernel,
        tables,
        theory,
    )
)


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="dualview",
        usage="dualview COMMAND [OPTION ...]",
        version=_version(),
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    commands = parser.add_subcommands(title="commands", metavar="COMMAND", dest="command")
    for command in COMMANDS:
        sub = Parser(
            usage=getattr(command, "USAGE", f"dualview {command.NAME} [OPTION ...]"),
            description=command.DESCRIPTION,
            epilog=command.EPILOG,
        )
        command.add_options(sub)
        sub.add_argument(
            "--debug", action="store_true", help="show where an error came from (a traceback)"
        )
        commands.add_subcommand(command.NAME, sub, help=command.HELP)
        sub.prog = f"dualview {command.NAME}"
    return parser


def run_command(arguments: Sequence[str] | None = None) -> int:
    """What `dualview.cli.main` does once the command line's libraries are there.

    Args:
        arguments: the command line without the program's name; that of the process if None.

    Returns:
        The exit status. Wrong options, help and version leave through SystemExit.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = build_parser()
    if not arguments:
        parser.print_help(sys.stderr)
        return WRONG_USE
    options = parser.parse_args(arguments)
    command = next(command for command in COMMANDS if options.command == command.NAME)
    name = f"dualview {command.NAME}"
    # To go on is not to start over.
    again = shlex.join(["dualview", *(word for word in arguments if word != "--overwrite")])
    try:
        with warnings.catch_warnings():
            _plain_warnings()
            return command.run(options[command.NAME], again)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (DualviewError, OSError) as error:
        if options[command.NAME].debug:
            raise
        return die(name, str(error), WRONG_USE if isinstance(error, SettingsError) else FAILED)


def _plain_warnings() -> None:
    """Show this package's warnings as one line, each text once, others as ever."""
    show = warnings.showwarning
    shown: set[str] = set()  # Python's own record is lost whenever filters change: at every run

    def show_plainly(message: Any, category: Any, *rest: Any, **more: Any) -> None:
        if issubclass(category, DualviewWarning):
            if str(message) not in shown:
                shown.add(str(message))
                print(f"dualview: warning: {message}", file=sys.stderr)
        else:
            show(message, category, *rest, **more)

    warnings.showwarning = show_plainly


def _version() -> str:
    from importlib.metadata import version

    return version("dualview")
