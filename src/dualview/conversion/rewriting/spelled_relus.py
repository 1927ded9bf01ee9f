"""ReLUs and leaky ReLUs that a model spells by a choice, as the one function that they are.

`h * (h > 0)`, `torch.maximum(h, zeros)`, `torch.where(h > 0, h, 0.1 * h)` and the like choose by
the sign of a value between it and a multiple of it, which is a gate. Source: theory, section 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn
from torch.nn import functional as F

from dualview.conversion.products import operands
from dualview.conversion.rewriting.spelled_activations import scalar_multiple
from dualview.conversion.source_lines import attribute_of, operation_name
from dualview.conversion.spellings import key_at

_POSITIVE, _NEGATIVE = frozenset({"gt", "ge"}), frozenset({"lt", "le"})
_ZEROS_LIKE = frozenset({"zeros_like", "new_zeros"})

Kinds = Mapping[fx.Node, str]


def name_spelled_relus(module: fx.GraphModule, kinds: Kinds) -> None:
    """Replace every such choice of the graph by `F.relu` or `F.leaky_relu`.

    Arguments must stand in their positions (`positional`), but for those of a choice.
    """
    graph, chosen = module.graph, False
    for node in list(graph.nodes):
        found = _relu_at(node, kinds) if kinds.get(node) == "data" else None
        if found is None:
            continue
        q, slope = found
        with graph.inserting_before(node):
            if slope == 0:
                new = graph.call_function(F.relu, (q,))
            else:
                new = graph.call_function(F.leaky_relu, (q, slope))
        new.stack_trace, new.meta = node.stack_trace, dict(node.meta)
        node.replace_all_uses_with(new)
        chosen = True
    if chosen:
        graph.eliminate_dead_code(lambda n: n.op in ("placeholder", "output"))


def _relu_at(node: fx.Node, kinds: Kinds) -> tuple[fx.Node, float] | None:
    """The value and the slope below 0 of the leaky ReLU at a node; None where it is none."""
    if node.op not in ("call_function", "call_method"):
        return None
    name = operation_name(node)
    if key_at(node) == "mul":
        pairs = (operands(node), operands(node)[::-1])
        return next(((q, 0.0) for q, sign in pairs if _sign(sign, q) == 1), None)
    if name == "where":
        return _choice(node, kinds)
    if name in ("maximum", "max"):
        return _maximum(node, kinds)
    return None


def _choice(node: fx.Node, kinds: Kinds) -> tuple[fx.Node, float] | None:
    """(x, slope) where `node` chooses x above 0 and slope * x below it."""
    names = ("condition", "input", "other")
    given = (
        node.args
        if node.op == "call_function"
        else (*node.args[1:2], *node.args[:1], *node.args[2:])
    )
    call: dict[str, Any] = dict(zip(names, given, strict=False)) | node.kwargs
    if set(call) != set(names):
        return None
    condition, above, below = (call[name] for name in names)
    if _sign(condition, below) == -1:
        above, below = below, above
    elif _sign(condition, above) != 1:
        return None
    slope = _multiple_of(below, above, kinds)
    return None if slope is None else (above, slope)


def _maximum(node: fx.Node, kinds: Kinds) -> tuple[fx.Node, float] | None:
    """A maximum of a value and a smaller multiple of it."""
    given: list[Any] = [
        *node.args,
        *(node.kwargs[k] for k in ("input", "other") if k in node.kwargs),
    ]
    if len(given) != 2 or not all(isinstance(value, fx.Node) for value in given):
        return None
    for q, other in (given, given[::-1]):
        slope = _multiple_of(other, q, kinds) if kinds.get(q) == "data" else None
        if slope is not None and slope < 1:
            return q, slope
    return None


def _sign(condition: Any, q: Any) -> int:
    """1 if a condition, or its number, is that `q` is positive, -1 that it is negative; else 0."""
    while isinstance(condition, fx.Node) and key_at(condition) == "same":
        condition = condition.args[0]
    if not isinstance(condition, fx.Node) or not isinstance(q, fx.Node):
        return 0
    if condition.op not in ("call_function", "call_method") or len(condition.args) != 2:
        return 0
    name = operation_name(condition)
    if condition.args[0] is not q or not _is_zero(condition.args[1], q):
        return 0
    return 1 if name in _POSITIVE else -1 if name in _NEGATIVE else 0


def _multiple_of(value: Any, q: Any, kinds: Kinds) -> float | None:
    """The number by which `value` is a multiple of `q`; None where it is none."""
    if not isinstance(q, fx.Node):
        return None
    if _is_zero(value, q):
        return 0.0
    base, factor = scalar_multiple(value, kinds)
    return factor if base is q and math.isfinite(factor) else None


def _is_zero(value: Any, q: fx.Node) -> bool:
    """Whether `value` is 0: a number, zeros like `q`, or a tensor of one entry, not learnt."""
    if not isinstance(value, fx.Node):
        return isinstance(value, int | float) and not isinstance(value, bool) and value == 0
    if value.op == "get_attr":
        held = attribute_of(value)
        one = isinstance(held, Tensor) and held.dim() <= 1 and held.numel() == 1
        return one and not isinstance(held, nn.Parameter) and bool((held == 0).all())
    if operation_name(value) not in _ZEROS_LIKE or value.all_input_nodes != [q]:
        return False
    sizes = value.args[1:] if operation_name(value) == "new_zeros" else ()
    return all(size in (1, (), (1,), [1]) for size in sizes) and len(sizes) <= 1
