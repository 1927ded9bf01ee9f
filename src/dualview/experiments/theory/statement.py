"""What a statement of the theory is, and how its verdict is reached.

A `Statement` computes both of its `Sides` from `Settings`; `judge` compares them entry by entry and
leaves a `StatementRecord`. The two sides share no code that the statement is about, and no verdict
is written down: it follows from the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from dualview.arguments import flag, require_fields, seed_number
from dualview.training import SettingsError

EXACT = 1e-10
"""Tolerance of a statement that is exact: float64 rounding through some dozen operations."""
MOST_STANDARD_ERRORS = 5.0
"""The worst of all entries of a Monte Carlo mean may be this far off: chance alone goes further in
about one comparison of two million."""
DIFFERENT = 1e-3
"""Kernels that are said to differ do so at least by this share of their largest entry."""
ROUNDING = 1e-12
"""Of the largest entry: what rounding may add to a Monte Carlo standard error."""

Comparison = Literal["equal", "mean", "differ"]
"""Sides are equal up to a tolerance; equal up to the standard error of a mean; or different."""

HOLDS = "holds"
FAILS = "does not hold"


@dataclass(frozen=True)
class Settings:
    """How the page is made.

    Attributes:
        seed: of everything that is drawn at random.
        quick: fewer draws and narrower networks, for a first look and for tests.
    """

    seed: int = 0
    quick: bool = False

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        require_fields(self, SettingsError, seed=seed_number, quick=flag)

    def draws(self, number: int) -> int:
        """How many draws to take where `number` are taken at leisure."""
        return number // 3 if self.quick else number


@dataclass(frozen=True)
class Pair:
    """The same quantity, computed in two ways.

    Attributes:
        left: any shape.
        right: the same shape.
        standard_error: of `left`, where it is a mean over draws; the same shape.
        scale: what errors are relative to; default: the largest entry of `right` in magnitude.
        label: tells it from the other pairs of the statement.
    """

    left: Tensor
    right: Tensor
    standard_error: Tensor | None = None
    scale: float | None = None
    label: str = ""


@dataclass(frozen=True)
class Sides:
    """All pairs of one statement, and over how much they were computed."""

    pairs: tuple[Pair, ...]
    n: int
    unit: str = "entries"
    """What `n` counts."""


def entries(pairs: Sequence[Pair]) -> Sides:
    """Pairs that were computed over all entries of their left sides."""
    return Sides(tuple(pairs), sum(pair.left.numel() for pair in pairs))


@dataclass(frozen=True)
class Statement:
    """One line of the theory.

    Attributes:
        name: unique and short.
        section: a key of `SECTIONS`.
        title: the formula, at most 39 characters.
        text: what it says, in words.
        source: paper and section, or that it is derived in this project.
        left: how the left side is computed.
        right: how the right side is, independently.
        compute: settings -> sides; or measurement -> sides, if `measurement` is given.
        comparison: how the sides are compared.
        bound: tolerance of "equal", least difference of "differ"; not used for "mean".
        measurement: name in `MEASUREMENTS` of what `compute` is given.
    """

    name: str
    section: str
    title: str
    text: str
    source: str
    left: str
    right: str
    compute: Callable[[Any], Sides]
    comparison: Comparison = "equal"
    bound: float = EXACT
    measurement: str | None = None


@dataclass(frozen=True)
class StatementRecord:
    """A statement with the numbers found. Numbers that are not finite are None.

    Attributes:
        left: value of one entry on the left side: the largest entry where the sides agree, the one
            where they are furthest apart where they do not.
        right: its value on the right side.
        error: largest deviation of any entry, relative to the largest entry of its kernel; of
            several kernels the worst, or, for "differ", the least different.
        bound: tolerance ("equal"), least difference ("differ"), or largest relative standard error
            of any entry ("mean").
        standard_errors: by how many of them the worst entry is off; None if nothing was drawn.
        verdict: "holds", "holds within 1.2 standard errors" or "does not hold".
        details: which of several kernels the worst entry is in.
        n: how many `unit`s the sides were computed over.
    """

    name: str
    section: str
    title: str
    text: str
    source: str
    left_is: str
    right_is: str
    comparison: Comparison
    left: float | None
    right: float | None
    error: float | None
    bound: float | None
    standard_errors: float | None
    verdict: str
    details: str
    n: int
    unit: str
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether the numbers bear the statement out."""
        return self.verdict.startswith(HOLDS)


def judge(statement: Statement, sides: Sides, seconds: float) -> StatementRecord:
    """Compare the two sides.

    Raises:
        ValueError: the statement's sides have different shapes, or a mean has no standard error.
    """
    found = [_worst(pair, statement.comparison, statement.bound) for pair in sides.pairs]
    choose = min if statement.comparison == "differ" else max
    index = choose(range(len(found)), key=lambda k: found[k].measure)
    worst = found[index]
    error = choose(item.error for item in found)
    mean = statement.comparison == "mean"
    bound = max(item.spread for item in found) if mean else statement.bound
    return StatementRecord(
        name=statement.name,
        section=statement.section,
        title=statement.title,
        text=statement.text,
        source=statement.source,
        left_is=statement.left,
        right_is=statement.right,
        comparison=statement.comparison,
        left=_finite(worst.left),
        right=_finite(worst.right),
        error=_finite(error),
        bound=_finite(bound),
        standard_errors=_finite(worst.measure) if mean else None,
        verdict=verdict(statement.comparison, worst.measure, statement.bound),
        details=sides.pairs[index].label,
        n=sides.n,
        unit=sides.unit,
        seconds=seconds,
    )


def verdict(comparison: Comparison, measure: float, bound: float) -> str:
    """What the worst entry says: a relative error, or a number of standard errors for "mean".

    >>> verdict("equal", 2e-16, 1e-10), verdict("equal", 0.01, 1e-10)
    ('holds', 'does not hold')
    >>> verdict("mean", 1.23, 0), verdict("mean", 7.0, 0), verdict("differ", 0.2, 0.001)
    ('holds within 1.2 standard errors', 'does not hold', 'holds')
    """
    if comparison == "mean":
        near = measure <= MOST_STANDARD_ERRORS
        return f"{HOLDS} within {measure:.1f} standard errors" if near else FAILS
    if not math.isfinite(measure):
        return FAILS
    good = measure >= bound if comparison == "differ" else measure <= bound
    return HOLDS if good else FAILS


@dataclass(frozen=True)
class _Worst:
    """What is worst in one pair."""

    left: float
    right: float
    """Of the entry to show; see `StatementRecord`."""
    measure: float
    """What the verdict is about: relative error, or standard errors."""
    error: float
    """Largest relative error of any entry."""
    spread: float
    """Largest relative standard error of any entry."""


def _worst(pair: Pair, comparison: Comparison, bound: float) -> _Worst:
    """Where two sides differ most, or their largest entry where they agree."""
    left, right = pair.left.detach().double(), pair.right.detach().double()
    if left.shape != right.shape:
        raise ValueError(
            f"{pair.label or 'pair'}: expected sides of one shape, got {tuple(left.shape)} and "
            f"{tuple(right.shape)}"
        )
    scale = float(right.abs().max()) if pair.scale is None else pair.scale
    error = _unknown_is_infinite((left - right).abs() / scale)
    measure, spread = error, 0.0
    if comparison == "mean":
        if pair.standard_error is None:
            raise ValueError(f"{pair.label or 'pair'}: expected a standard error, got none")
        relative = pair.standard_error.detach().double() / scale
        measure = _unknown_is_infinite(error / (relative + ROUNDING))
        spread = float(relative.max())
    agree = comparison != "differ" and measure.max() <= (
        MOST_STANDARD_ERRORS if comparison == "mean" else bound
    )
    at = int(right.abs().argmax() if agree else measure.argmax())
    return _Worst(
        float(left.flatten()[at]),
        float(right.flatten()[at]),
        float(measure.max()),
        float(error.max()),
        spread,
    )


def _unknown_is_infinite(values: Tensor) -> Tensor:
    """NaN, as of a kernel that is 0 everywhere and so shows nothing, is the worst of errors."""
    return torch.nan_to_num(values, nan=math.inf, posinf=math.inf)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
