"""Files that appear whole or not at all, so that a process killed at any moment leaves no half."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PART = ".part"
"""Ending of a file that is still being written."""


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, then rename it to `path` in one step.

    Args:
        path: the file to replace.
        write: called with the path to write to, on the same file system.
    """
    part = path.with_name(path.name + PART)
    write(part)
    part.replace(path)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as indented JSON; the file appears whole or not at all."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    write_atomically(path, lambda part: _write_text(part, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
