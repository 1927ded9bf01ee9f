"""Imports of optional libraries, where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from dualview.errors import MissingExtraError


def need(module: str, extra: str) -> Any:
    """Import `module`, or say which extra of the package brings it.

    Raises:
        MissingExtraError: the library is not installed.

    >>> need("math", "train").sqrt(4.0)
    2.0
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"this data needs {error.name!r}, which is not installed: "
            f"pip install 'dualview[{extra}]'"
        ) from error
