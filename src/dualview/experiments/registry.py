"""The experiments by name, in the order in which they are listed; and those of a user's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module

from dualview.arguments import takes, text_value
from dualview.errors import did_you_mean
from dualview.experiments.experiment import Experiment
from dualview.files.user_code import imported
from dualview.training import SettingsError

FOLDERS = (
    "architectures",
    "regimes",
    "invariances",
    "gate_learning",
    "kernel_learner",
    "alignment",
    "shallow",
    "spectrum",
    "distillation",
    "gating",
    "explanations",
    "datamodels",
    "pruning",
    "width",
    "trees",
    "real_tables",
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
    found = getattr(imported(place, "an experiment", SettingsError), name, None)
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
