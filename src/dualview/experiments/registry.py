"""The experiments by name, in the order in which they are listed; and those of a user's own."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType

from dualview.arguments import takes, text_value
from dualview.errors import did_you_mean
from dualview.experiments.experiment import Experiment
from dualview.training import SettingsError

FOLDERS = (
    "architectures",
    "regimes",
    "invariances",
    "gate_learning",
    "alignment",
    "shallow",
    "spectrum",
)
"""Of this package; each has an `EXPERIMENT` in its face."""

EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.name: experiment
    for folder in FOLDERS
    for experiment in (import_module(f"dualview.experiments.{folder}").EXPERIMENT,)
}
"""Name -> experiment."""

OWN = "EXPERIMENT"
"""What an experiment is called in a module where no other name is given."""


@takes(SettingsError, where=text_value)
def find(where: str) -> Experiment:
    """The experiment that is meant: one listed here, or one of the user's own.

    Args:
        where: a name of `EXPERIMENTS`; a file such as "mine.py", which holds an `EXPERIMENT`; a
            module such as "mine.thin"; a name behind a colon, as in "mine.py:WIDE", stands for
            another one in it. The file or module is run.

    Raises:
        SettingsError: there is none, or it cannot be imported.

    >>> find("shallow").title
    'Deep or shallow gates'
    """
    if where in EXPERIMENTS:
        return EXPERIMENTS[where]
    place, _, name = where.partition(":")
    if not (place.endswith(".py") or "." in place or name):
        raise SettingsError(
            f"NAME: expected one of {', '.join(EXPERIMENTS)}, a file of your own (mine.py) "
            f"or module:NAME, got {where!r}{did_you_mean(where, EXPERIMENTS)}"
        )
    name = name or OWN
    found = getattr(_imported(place), name, None)
    if not isinstance(found, Experiment):
        raise SettingsError(
            f"{place}: expected {name} to be a dualview.experiments.Experiment, got "
            f"{'no such name' if found is None else type(found).__name__}"
        )
    if found.name in EXPERIMENTS or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", found.name):
        raise SettingsError(
            f"{place}: expected a name of small letters, digits and hyphens that no experiment of "
            f"this package has, got {found.name!r}"
        )
    return found


def _imported(place: str) -> ModuleType:
    """The module, or the file as one; as in a script, what lies beside it can be imported."""
    path = Path(place)
    folder = str(path.absolute().parent) if place.endswith(".py") else str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        if not place.endswith(".py"):
            return import_module(place)
        spec = importlib.util.spec_from_file_location(f"dualview_own_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise ImportError("no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:
        raise SettingsError(
            f"{place}: expected a Python file or module with an experiment, got "
            f"{type(error).__name__}: {error}"
        ) from error
    return module
