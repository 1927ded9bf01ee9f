"""Python files and modules of the user's own, imported because the user has named them.

Nothing that is read from a file is ever a name here: what a run or a saved network says of its
making is compared with what the user names, and imports nothing.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from dualview.errors import DualviewError

_OWN = "dualview_own_"


def is_place(where: str) -> bool:
    """Whether a text names something in a file or module: "mine.py", "mine.py:make", "a.b:make".

    >>> [is_place(where) for where in ("mine.py", "models/mine.py:make", "mine:make", "resnet20")]
    [True, True, True, False]
    """
    return where.endswith(".py") or ":" in where


def parts(where: str) -> tuple[str, str]:
    """The file or module, and the name in it ("" where there is none).

    >>> parts("models/mine.py:make"), parts("mine.py")
    (('models/mine.py', 'make'), ('mine.py', ''))
    """
    place, colon, name = where.rpartition(":")
    return (place, name) if colon else (where, "")


def own_name(where: str) -> str:
    """How records name it: without the folder, which may be another one tomorrow.

    >>> own_name("./models/mine.py:make"), own_name("a.b:make")
    ('mine.py:make', 'a.b:make')
    """
    place, name = parts(where)
    short = Path(place).name if place.endswith(".py") else place
    return f"{short}:{name}" if name else short


def from_anywhere(where: str) -> str:
    """The same place as processes in other folders name it.

    >>> from_anywhere("resnet20"), from_anywhere("a.b:make"), from_anywhere("/mine.py:make")
    ('resnet20', 'a.b:make', '/mine.py:make')
    """
    place, name = parts(where)
    if not place.endswith(".py"):
        return where
    whole = str(Path(place).absolute())
    return f"{whole}:{name}" if name else whole


def own_modules() -> list[ModuleType]:
    """Files of the user's own that were imported; by name no other process can import them."""
    return [module for name, module in list(sys.modules.items()) if name.startswith(_OWN)]


def imported(place: str, wanted: str, error: type[DualviewError]) -> ModuleType:
    """The module, or the file as one; as in a script, what lies beside it can be imported.

    A file is run once, and anew where it has changed.

    Args:
        place: a file such as "mine.py", or a module.
        wanted: what should be in it, for the message.
        error: what to raise.

    Raises:
        DualviewError: `error`: it cannot be imported.
    """
    is_file = place.endswith(".py")
    folder = str(Path(place).absolute().parent) if is_file else str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return _from_file(Path(place)) if is_file else importlib.import_module(place)
    except Exception as raised:  # whatever the user's code raises while it is imported
        raise error(
            f"{place}: expected a Python file or module with {wanted}, got "
            f"{type(raised).__name__}: {raised}"
        ) from raised


class _AsItStands(SourceFileLoader):
    """Without bytecode, which knows a file by its size and second, not by what it says."""

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """What Python asks for before it looks for bytecode: none is to be had."""
        raise OSError(f"{path}: read as it stands")


def _from_file(path: Path) -> ModuleType:
    content = path.read_bytes()
    digest = hashlib.sha256(str(path.absolute()).encode() + b"\0" + content).hexdigest()[:12]
    name = f"{_OWN}{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    loader = _AsItStands(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or spec.loader is None:
        raise ImportError("no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look for it there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
