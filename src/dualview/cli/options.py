"""A jsonargparse parser whose errors are this package's: one line, with the nearest option."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import Any

from dualview.errors import DualviewError, MissingExtraError


class UsageError(DualviewError, ValueError):
    """A command line or a configuration file that cannot be read."""


class Parser:
    """Options of one command. YAML files given by `--config` hold them too; flags override them.

    Args:
        command: its name, as in `dualview compare`.
        description: what it does.
        examples: shown at the end of the help.
    """

    def __init__(self, command: str, description: str, examples: str = "") -> None:
        try:
            import jsonargparse
        except ImportError as error:
            raise MissingExtraError(
                "the command line needs jsonargparse, which is not installed; "
                "pip install 'dualview[train]'"
            ) from error
        self._parser = jsonargparse.ArgumentParser(
            prog=f"dualview {command}",
            description=description,
            epilog=examples,
            formatter_class=_Formatter,
            exit_on_error=False,
        )
        self.group: Any = self._parser

    def section(self, title: str) -> None:
        """Options added from here on stand under this title in the help."""
        self.group = self._parser.add_argument_group(title)

    def option(self, name: str, **how: Any) -> None:
        """Add an option; arguments as for `argparse`."""
        self.group.add_argument(name, **how)

    def config_option(self) -> None:
        """Add `--config FILE.yaml`."""
        self._parser.add_argument(
            "--config", action="config", help="YAML file with options, as in `epochs: 8`"
        )

    def print_help(self) -> None:
        """Print the help to standard output."""
        self._parser.print_help()

    def parse(self, words: Sequence[str]) -> Any:
        """The options as a namespace.

        Raises:
            UsageError: an option is unknown or has a wrong value.
        """
        self._refuse_unknown(words)
        try:
            return self._parser.parse_args(list(words))
        except (argparse.ArgumentError, ValueError, TypeError, OSError) as error:
            raise UsageError(self._explained(str(error))) from error

    def _refuse_unknown(self, words: Sequence[str]) -> None:
        known = self._names()
        for word in words:
            name = word.split("=")[0]
            if name.startswith("--") and name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise UsageError(
                    f"{self._parser.prog} has no option {name}{hint} (--help lists them)"
                )

    def _names(self) -> list[str]:
        return [name for action in self._parser._actions for name in action.option_strings]

    def _explained(self, message: str) -> str:
        """The message of jsonargparse, in one line, with the nearest option for unknown keys."""
        message = " ".join(message.split())
        unknown = re.search(r"'([\w.-]+)' is not expected|Key '([\w.-]+)'", message)
        if unknown:
            key = next(group for group in unknown.groups() if group)
            names = [name.removeprefix("--").replace("-", "_") for name in self._names()]
            near = difflib.get_close_matches(key, names, n=1)
            message += f"; did you mean {near[0]}?" if near else ""
        return f"{message} ({self._parser.prog} --help explains every option)"


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help with examples as they were written, and the defaults that are not None."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, max_help_position=30, width=96)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        hidden = (None, argparse.SUPPRESS, False)
        if action.default in hidden or action.help is None or "default" in action.help:
            return action.help
        shown = action.default
        shown = " ".join(map(str, shown)) if isinstance(shown, list | tuple) else shown
        return f"{action.help} (default: {shown})".replace("%", "%%")
