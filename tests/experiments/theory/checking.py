"""Statements by name, tried quickly, for tests that break something first."""

from __future__ import annotations

from dualview.experiments.theory.run import STATEMENTS, check
from dualview.experiments.theory.statement import Settings, StatementRecord

QUICK = Settings(quick=True)
BY_NAME = {statement.name: statement for statement in STATEMENTS}


def tried(name: str, measured=None) -> StatementRecord:
    """The record of one statement."""
    return check(BY_NAME[name], QUICK, measured)


def verdicts(*names: str) -> dict[str, str]:
    """Name -> verdict."""
    return {name: tried(name).verdict for name in names}


def all_fail(*names: str) -> bool:
    """Whether none of the statements holds; there must be some."""
    found = verdicts(*names)
    return bool(found) and set(found.values()) == {"does not hold"}
