"""Which of a model's outputs is meant, where it gives several."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import fx

from dualview.errors import ConversionError


def selected(value: Any, output: str | int) -> Any:
    """The output of this name or number among what a model gives.

    Raises:
        ConversionError: there is none.

    >>> selected({"logits": 1, "loss": 2}, "logits"), selected((3, 4), 1)
    (1, 4)
    """
    names: list[Any]
    if isinstance(value, Mapping):
        names = list(value)
    else:
        names = list(getattr(value, "_fields", range(_count(value))))
    if isinstance(output, str) and output in _fields_of(value):
        return getattr(value, output)
    if isinstance(value, Mapping) and output in value:
        return value[output]
    if isinstance(output, int) and not isinstance(value, Mapping) and 0 <= output < _count(value):
        return value[output]
    raise ConversionError(
        f"output: expected one of the model's outputs, {', '.join(map(repr, names)) or 'a tensor'}"
        f", got {output!r}"
        + ("" if names else ". Repair: leave it out, since the model gives one tensor")
    )


def _fields_of(value: Any) -> tuple[str, ...]:
    """The names of a data class or a named tuple; of nothing else, whatever attributes it has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return tuple(field.name for field in dataclasses.fields(value))
    return tuple(getattr(value, "_fields", ())) if isinstance(value, tuple) else ()


def _count(value: Any) -> int:
    return len(value) if isinstance(value, tuple | list) else 0


def select_output(module: fx.GraphModule, output: str | int) -> None:
    """Let the graph give this output alone.

    Raises:
        ConversionError: there is none of this name or number.
    """
    node = next(node for node in reversed(module.graph.nodes) if node.op == "output")
    node.args = (selected(node.args[0], output),)
    module.graph.eliminate_dead_code(lambda n: n.op in ("placeholder", "output"))
