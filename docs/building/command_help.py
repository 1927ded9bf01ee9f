"""The help texts of `dualview`, in the place of `<!-- help of every command -->` on a page."""

import os
from typing import Any
from unittest import mock

from dualview.cli.commands import COMMANDS, build_parser

MARK = "<!-- help of every command -->"


def on_page_markdown(markdown: str, **rest: Any) -> str:
    """The page with the help texts in it."""
    return markdown.replace(MARK, help_of_every_command()) if MARK in markdown else markdown


def help_of_every_command() -> str:
    """Each command's `--help` under a heading of its own, as Markdown."""
    with mock.patch.dict(os.environ, {"COLUMNS": "88"}):  # argparse wraps there
        (commands,) = build_parser()._subparsers._group_actions
        texts = {c.NAME: commands.choices[c.NAME].format_help() for c in COMMANDS}
    return "\n".join(f"## {name}\n\n```text\n{_plain(text)}```\n" for name, text in texts.items())


def _plain(text: str) -> str:
    """Without backspaces: by one, the parser's library closes a gap, which only terminals obey."""
    return text.replace(" \b", "")
