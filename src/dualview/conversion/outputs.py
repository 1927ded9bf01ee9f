"""Which of a model's outputs is meant, where it gives several."""

from __future__ import annotations

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
    if isinstance(value, Mapping):
        names, by_name = list(value), output in value
    else:
        named = hasattr(value, "_fields")
        names = list(value._fields) if named else list(range(_count(value)))
        by_name = named and output in names
    if by_name:
        return value[output] if isinstance(value, Mapping) else getattr(value, str(output))
    if isinstance(output, int) and not isinstance(value, Mapping) and 0 <= output < _count(value):
        return value[output]
    raise ConversionError(
        f"output: expected one of the model's outputs, {', '.join(map(repr, names)) or 'a tensor'}"
        f", got {output!r}"
        + ("" if names else ". Repair: leave it out, since the model gives one tensor")
    )


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
