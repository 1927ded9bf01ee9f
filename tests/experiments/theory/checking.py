"""Statements by name, tried quickly, for tests that break something first."""

from __future__ import annotations

from functools import cache

import torch

from dualview.experiments.theory.run import MEASUREMENTS, STATEMENTS, check, take
from dualview.experiments.theory.statement import Settings, Sides, StatementRecord

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


@cache
def measured() -> dict:
    """Name -> measurement and its seconds, as `check` takes them; taken once."""
    return {series.name: take(series, QUICK) for series in MEASUREMENTS}


@cache
def sides_of(name: str) -> Sides:
    """What `check` judges of an unbroken library; computed once."""
    statement = BY_NAME[name]
    source = measured()[statement.measurement][0] if statement.measurement else QUICK
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(QUICK.seed)
        return statement.compute(source)
