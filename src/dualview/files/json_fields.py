"""Plain JSON values -> frozen dataclasses, every field looked at.

A record that was edited or damaged may still be JSON. A text where a number belongs would otherwise
be found by whatever table or figure meets it first.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

_hints = cache(get_type_hints)

_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def from_json(kind: type[T], value: Any, where: str = "") -> T:
    """A dataclass from what `dataclasses.asdict` and JSON made of it.

    Args:
        kind: a dataclass whose fields are texts, literals, numbers, other such dataclasses, tuples
            and mappings of these, or `Any`, which is taken as it is.
        value: the decoded JSON.
        where: names the value in messages.

    Raises:
        ValueError: a field is missing, unknown, or of another type; the message names it.

    >>> from dualview.training.metrics import EpochMetrics
    >>> from_json(EpochMetrics, {"epoch": "first"})
    Traceback (most recent call last):
    ...
    ValueError: epoch: expected a whole number, got 'first'
    """
    if not isinstance(value, dict):
        raise _unexpected(where or kind.__name__, "an object", value)
    hints = _hints(kind)  # type: ignore[arg-type]  # a class is hashable
    dot = f"{where}." if where else ""
    for name in value:
        if name not in hints:
            raise ValueError(f"expected no field {dot + name!r}, got {_short(value[name])}")
    made = {name: _made(hints[name], inner, dot + name) for name, inner in value.items()}
    for field in fields(kind):  # type: ignore[arg-type]  # T is a dataclass
        if field.name not in made and field.default is field.default_factory is MISSING:
            raise ValueError(f"{dot}{field.name}: expected a value, got none")
    return kind(**made)


def _made(kind: Any, value: Any, where: str) -> Any:
    """The value as the type that a field is declared with."""
    if kind is Any:
        return value
    if is_dataclass(kind):
        return from_json(kind, value, where)  # type: ignore[arg-type]  # it is a type
    if isinstance(kind, types.UnionType):
        return _made_optional(kind, value, where)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise _unexpected(where, " or ".join(map(repr, get_args(kind))), value)
        return value
    if get_origin(kind) is tuple:
        return _made_tuple(get_args(kind), value, where)
    if get_origin(kind) in (dict, Mapping):
        return _made_mapping(get_args(kind)[1], value, where)
    # A whole number is a number too; true and false, which Python counts as numbers, are none.
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise _unexpected(where, _NAMES[kind], value)
    if kind is float and abs(value) > 1e308:
        raise _unexpected(where, "a number that a float can hold", value)
    return value


def _made_optional(kind: types.UnionType, value: Any, where: str) -> Any:
    (inner,) = (option for option in get_args(kind) if option is not types.NoneType)
    return None if value is None else _made(inner, value, where)


def _made_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _unexpected(where, "a list", value)
    if kinds[1:] == (...,):
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise _unexpected(where, f"a list of {len(kinds)}", value)
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(_made(kind, inner, f"{where}[{i}]") for i, (kind, inner) in pairs)


def _made_mapping(kind: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _unexpected(where, "an object", value)
    return {name: _made(kind, inner, f"{where}.{name}") for name, inner in value.items()}


def _unexpected(where: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"{where}: expected {expected}, got {_short(value)}")


def _short(value: Any) -> str:
    text = "a list or object" if isinstance(value, list | dict) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
