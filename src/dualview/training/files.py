"""Files that appear whole or not at all, so that a process killed at any moment leaves no half."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dualview.files.opening import text_of

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


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file, as `write_json` writes it.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no JSON object in UTF-8, or NaN or infinity, which are not JSON.
    """
    try:
        value = json.loads(text_of(path), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("lists or objects nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got a {type(value).__name__}")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"expected finite numbers, got {name}")


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
