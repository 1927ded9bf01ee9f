"""The command line, `dualview COMMAND ...`; `commands` lists the commands.

Exit status: 0 done, 1 failed, 2 wrong use, 130 interrupted (Ctrl-C), 143 terminated (SIGTERM;
128 + its number for the other signals of batch systems).
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from dualview.errors import MissingExtraError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name; that of the process if None.

    Returns:
        The exit status. Wrong options, help and version leave through SystemExit.
    """
    _show_any_name()
    try:
        from dualview.cli.commands import run_command
    except MissingExtraError as error:
        print(f"dualview: error: {error}", file=sys.stderr)
        return 1
    return run_command(arguments)


def _show_any_name() -> None:
    """Names of files that are no UTF-8 are shown byte by byte, as the system gave them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")
