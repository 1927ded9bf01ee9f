"""The hint at what was probably meant by a name that does not exist."""

from __future__ import annotations

from collections.abc import Collection
from difflib import SequenceMatcher
from itertools import takewhile

ALIKE = 0.5
"""Names that are less alike (difflib's ratio) are not worth a hint."""


def did_you_mean(value: object, choices: Collection[str]) -> str:
    """A hint at the nearest choice, to append to a message; empty if none is near.

    First those of the same letters in another order, then by likeness; of choices as alike, the one
    that begins alike is meant.

    >>> did_you_mean("resnet21", ["resnet20", "resnet32", "vgg16"])
    "; did you mean 'resnet20'?"
    >>> did_you_mean("xyz", ["resnet20"])
    ''
    """
    if not isinstance(value, str):
        return ""
    given = value.lower()

    def likeness(choice: str) -> tuple[bool, float, int]:
        ratio = SequenceMatcher(None, choice, given).ratio()
        same = takewhile(lambda pair: pair[0] == pair[1], zip(choice, given, strict=False))
        return sorted(choice) == sorted(given), ratio, len(list(same))

    near = max(choices, key=likeness, default=None)
    if near is None or likeness(near)[1] < ALIKE:
        return ""
    return f"; did you mean {near!r}?"
