"""The command line: `dualview COMMAND ...`. One small file a command, listed in `COMMANDS`.

A command's module has `parser()` and `run(options)`. It is imported when it is called for, so that
`--help` is quick.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version

from dualview.errors import DualviewError

COMMANDS = {
    "demo": "train DNN, DGN and DLGN on handwritten digits (no download) and write a report",
    "compare": "train DNN, DGN and DLGN on any data and architecture, side by side",
}
"""Command -> what it does; its module is `dualview.cli.COMMAND`."""

WRONG_USE = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Package errors become one line on standard error and exit code 2; `--debug` before the command
    shows the traceback instead.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = words[:1] == ["--debug"]
    words = words[debug:]
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return 0 if words else WRONG_USE
    if words[0] == "--version":
        print(f"dualview {version('dualview')}")
        return 0
    if words[0] not in COMMANDS:
        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return _fail(f"expected a command ({', '.join(COMMANDS)}), got {words[0]!r}{hint}")
    try:
        return _run(words[0], words[1:])
    except DualviewError as error:
        if debug:
            raise
        return _fail(str(error))
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


def overview() -> str:
    """The text of `dualview --help`."""
    width = max(len(name) for name in COMMANDS)
    lines = [f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: dualview [--debug] COMMAND [options]",
            "",
            "Takes ReLU networks apart: gates, paths and the neural path kernel.",
            "",
            "commands:",
            *lines,
            "",
            "`dualview COMMAND --help` explains a command; `--version` prints the version;",
            "--debug shows the traceback of an error.",
        ]
    )


def _run(command: str, words: list[str]) -> int:
    module = importlib.import_module(f"dualview.cli.{command}")
    parser = module.parser()
    if "-h" in words or "--help" in words:
        parser.print_help()
        return 0
    options = parser.parse(words)
    return int(module.run(options) or 0)


def _fail(message: str) -> int:
    print(f"dualview: error: {message}", file=sys.stderr)
    return WRONG_USE
