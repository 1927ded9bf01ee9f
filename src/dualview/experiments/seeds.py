"""Which seeds: a number of them, a range, or a list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from dualview.arguments import LARGEST_SEED, UnfitError, sequence, whole

Seeds = int | str | Sequence[int]
"""3 stands for the seeds 0, 1 and 2; "3-5" for 3, 4 and 5; "0,4-6" or (0, 4, 5, 6) for these."""

MOST_SEEDS = 10_000
"""All runs are listed before the first one is trained."""

_TEXT = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


def as_given(value: Any) -> Any:
    """What the command line or a file says: a plain number as one, all else for `seeds_value`.

    >>> as_given("3"), as_given("3-5")
    (3, '3-5')
    """
    return int(value) if isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value) else value


def seeds_value(value: Any) -> int | tuple[int, ...]:
    """A check as `dualview.arguments` has them: a number of seeds, or the seeds themselves.

    >>> seeds_value(3), seeds_value("0,4-6"), seeds_value(range(2))
    (3, (0, 4, 5, 6), (0, 1))
    """
    if isinstance(value, str):
        return _checked(_read(value))
    try:
        entries = sequence(value)
    except UnfitError:
        return int(whole(1, MOST_SEEDS)(value))
    try:
        return _checked([whole(0, LARGEST_SEED)(entry) for entry in entries])
    except UnfitError:
        raise _unfit() from None


def seed_numbers(seeds: Seeds) -> tuple[int, ...]:
    """The seeds themselves.

    >>> seed_numbers(3), seed_numbers("7-9")
    ((0, 1, 2), (7, 8, 9))
    """
    found = seeds_value(seeds)
    return tuple(range(found)) if isinstance(found, int) else found


def _read(text: str) -> list[int]:
    if not _TEXT.fullmatch(text):
        raise _unfit()
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        start, end = int(first), int(last or first)
        if not start <= end <= LARGEST_SEED or end - start >= MOST_SEEDS:
            raise _unfit()
        found += range(start, end + 1)
    return found


def _checked(seeds: Sequence[int]) -> tuple[int, ...]:
    if not seeds or len(set(seeds)) < len(seeds) or len(seeds) > MOST_SEEDS:
        raise _unfit()
    return tuple(seeds)


def _unfit() -> UnfitError:
    return UnfitError(
        f"a whole number from 1 to {MOST_SEEDS}, or seeds as in '3-5' or '0,2,7', each once"
    )
