"""Imports of optional libraries, where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from dualview.errors import MissingExtraError


def need(module: str, extra: str, what: str = "this data") -> Any:
    """Import `module`, or say which extra of the package brings it, and what needs it.

    Raises:
        MissingExtraError: the library is not installed.

    >>> need("math", "train").sqrt(4.0)
    2.0
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{what} needs {error.name!r}, which is not installed: pip install 'dualview[{extra}]'"
        ) from error
