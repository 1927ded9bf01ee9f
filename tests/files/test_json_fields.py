"""Properties proved here.

1. What `asdict` and JSON make of a dataclass of every supported kind of field comes back equal.
2. A field of another type, a missing and an unknown one are a ValueError that names it, at any
   depth; true is no number, and a number that no float can hold is refused.
3. A whole number stands for a float, a field with a default may be missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pytest

from dualview.files.json_fields import from_json


@dataclass(frozen=True)
class Part:
    name: str
    size: float | None


@dataclass(frozen=True)
class Whole:
    count: int
    flag: bool
    how: Literal["gently", "roughly"]
    one: Part
    parts: tuple[Part, ...]
    pair: tuple[int, str]
    sizes: Mapping[str, float]
    free: dict[str, Any] = field(default_factory=dict)


WHOLE = Whole(
    3, True, "gently", Part("a", 1.5), (Part("b", None),), (1, "x"), {"s": 2.0}, {"k": [1]}
)


def plain(**changes):
    return {**json.loads(json.dumps(asdict(WHOLE))), **changes}


def test_round_trip():
    assert from_json(Whole, plain()) == WHOLE
    assert from_json(Whole, plain(one={"name": "a", "size": 2})).one == Part("a", 2)
    without = plain()
    del without["free"]
    assert from_json(Whole, without).free == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 1.0}, "count: expected a whole number, got 1.0"),
        ({"count": True}, "count: expected a whole number, got True"),
        ({"flag": 1}, "flag: expected true or false, got 1"),
        ({"how": "badly"}, "how: expected 'gently' or 'roughly', got 'badly'"),
        ({"how": ["gently"]}, "how: expected 'gently' or 'roughly', got a list or object"),
        ({"one": None}, "one: expected an object, got None"),
        ({"one": {"name": "a"}}, "one.size: expected a value, got none"),
        ({"one": {"name": 3, "size": 1}}, "one.name: expected text, got 3"),
        ({"one": {"name": "a", "size": True}}, "one.size: expected a number, got True"),
        ({"parts": {}}, "parts: expected a list, got a list or object"),
        ({"parts": [{"name": "a", "size": "b"}]}, "parts[0].size: expected a number, got 'b'"),
        ({"pair": [1]}, "pair: expected a list of 2, got a list or object"),
        ({"sizes": []}, "sizes: expected an object"),
        ({"sizes": {"s": 10**400}}, "sizes.s: expected a number that a float can hold, got 1000"),
        ({"free": 1}, "free: expected an object, got 1"),
        ({"colour": "red"}, "expected no field 'colour', got 'red'"),
    ],
)
def test_the_field_is_named(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        from_json(Whole, plain(**changes))


@pytest.mark.parametrize("value", [None, 3, "x", []])
def test_no_object(value):
    with pytest.raises(ValueError, match=r"^Whole: expected an object"):
        from_json(Whole, value)
