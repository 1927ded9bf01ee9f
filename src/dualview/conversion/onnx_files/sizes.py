"""Operations of `Sizes`: what exporters compute shapes with."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from torch import fx

from dualview.conversion.onnx_files.calls import OnnxCall, OnnxValue, Sizes, known_or_sizes


def of_sizes(call: OnnxCall) -> OnnxValue | None:
    """What `call` makes of `Sizes`; None where it is no operation of sizes."""
    if call.op == "Shape":
        return _shape(call)
    rule = _RULES.get(call.op)
    takes_sizes = any(isinstance(value, Sizes) for value in call.inputs)
    if not takes_sizes or rule is None or any(isinstance(v, fx.Node) for v in call.inputs):
        return None
    return rule(call)


def _shape(call: OnnxCall) -> OnnxValue:
    entries = tuple(
        call.function("size", call.x, axis) if size is None else size
        for axis, size in enumerate(call.known_dims())
    )
    start, end = call.options.get("start", 0), call.options.get("end", len(entries))
    return known_or_sizes(entries[start:end])


def _same(call: OnnxCall) -> OnnxValue:
    value = call.inputs[0]
    assert value is not None
    return value


def _vector(call: OnnxCall) -> OnnxValue:
    """Of one number, or of a vector, a vector: what Unsqueeze and Reshape to (-1,) make."""
    return known_or_sizes(call.sizes(0))


def _number(call: OnnxCall) -> OnnxValue:
    """Of a vector of one number the number."""
    return known_or_sizes(call.sizes(0), scalar=True)


def _gather(call: OnnxCall) -> OnnxValue:
    entries, index = call.sizes(0), call.constant(1)
    found = tuple(entries[int(k)] for k in index.flatten())
    return known_or_sizes(found, scalar=index.dim() == 0)


def _slice(call: OnnxCall) -> OnnxValue:
    (start,), (end,) = call.numbers(1), call.numbers(2)
    (step,) = call.numbers(4, [1])
    return known_or_sizes(call.sizes(0)[start:end:step])


def _concat(call: OnnxCall) -> OnnxValue:
    return known_or_sizes(tuple(e for k in range(len(call.inputs)) for e in call.sizes(k)))


def _elementwise(function: Callable[[Any, Any], Any]) -> Callable[[OnnxCall], OnnxValue]:
    def rule(call: OnnxCall) -> OnnxValue:
        left, right = call.sizes(0), call.sizes(1)
        length = max(len(left), len(right))
        pairs = zip(left * (length // len(left)), right * (length // len(right)), strict=True)
        entries = tuple(
            call.function(function, a, b)
            if isinstance(a, fx.Node) or isinstance(b, fx.Node)
            else function(a, b)
            for a, b in pairs
        )
        return known_or_sizes(entries, scalar=all(map(_is_scalar, call.inputs)))

    return rule


def _is_scalar(value: Any) -> bool:
    return value.scalar if isinstance(value, Sizes) else value.dim() == 0


_RULES: dict[str, Callable[[OnnxCall], OnnxValue]] = {
    "Add": _elementwise(operator.add),
    "Sub": _elementwise(operator.sub),
    "Mul": _elementwise(operator.mul),
    "Div": _elementwise(operator.floordiv),
    "Cast": _same,
    "Identity": _same,
    "Concat": _concat,
    "Gather": _gather,
    "Slice": _slice,
    "Unsqueeze": _vector,
    "Reshape": _vector,
    "Squeeze": _number,
}
