"""Activations that a model spells by hand, `q * g(q)`, as one activation each.

`x * sigmoid(1.702 * x)`, `x * relu6(x + 3) / 6` and `0.5 * x * (1 + erf(x / sqrt(2)))` are products
of a value with an elementwise function of that value. Each becomes a call of a `SelfGated`
module, so that it is one gate as `nn.SiLU` is, and a DLGN's gating network can do without it.

Constants that multiply the whole go into the gate. Source: theory, section 7 (i).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from dualview.conversion import operations as ops
from dualview.conversion.activations import (
    GATE_OF_FUNCTION,
    GATE_OF_METHOD,
    GATE_OF_MODULE,
    SelfGated,
)
from dualview.conversion.graph_network import GraphNetwork
from dualview.conversion.products import operands
from dualview.conversion.source_lines import module_of
from dualview.conversion.spellings import key_at

_SCALING = ("mul", "div")
_ARITHMETIC = ops.ADDITIVE | {*_SCALING, "neg", "same"}


def name_spelled_activations(module: fx.GraphModule, kinds: Mapping[fx.Node, str]) -> None:
    """Replace every product `q * g(q)` of the graph by a call of a module that is added to it."""
    for node in list(module.graph.nodes):
        if kinds.get(node) != "data" or key_at(node) not in _SCALING:
            continue
        left, right = operands(node)
        orders = [(left, right)] if key_at(node) == "div" else [(left, right), (right, left)]
        for kept, other in orders:
            if not isinstance(other, fx.Node) or kinds.get(other) != "data":
                continue
            q, factor = scalar_multiple(kept, kinds)
            if q is not None and _is_function_of(other, q, kinds):
                _replace(module, node, q, factor, other)
                break


def scalar_multiple(value: Any, kinds: Mapping[fx.Node, str]) -> tuple[fx.Node | None, float]:
    """The value of which `value` is a multiple by a number, and the number."""
    factor = 1.0
    while isinstance(value, fx.Node) and kinds.get(value, "data") == "data":
        key = key_at(value)
        if key not in _SCALING:
            return value, factor
        left, right = operands(value)
        if key == "mul" and _is_number(left):
            value, factor = right, factor * left
        elif key == "mul" and _is_number(right):
            value, factor = left, factor * right
        elif key == "div" and _is_number(right) and right != 0:
            value, factor = left, factor / right
        else:
            return value, factor
    return None, factor


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_function_of(value: Any, q: fx.Node, kinds: Mapping[fx.Node, str]) -> bool:
    """Whether `value` is an elementwise function of `q` and numbers alone."""
    if value is q or _is_number(value):
        return True
    if not isinstance(value, fx.Node) or kinds.get(value) != "data" or not _is_elementwise(value):
        return False
    arguments = [*value.args, *value.kwargs.values()]
    plain = (str, bool, type(None))
    return all(isinstance(a, plain) or _is_function_of(a, q, kinds) for a in arguments)


def _is_elementwise(node: fx.Node) -> bool:
    if node.op == "call_module":
        kind = type(module_of(node))
        return kind in GATE_OF_MODULE and kind is not nn.PReLU
    known = GATE_OF_METHOD if node.op == "call_method" else GATE_OF_FUNCTION
    return node.target in known or key_at(node) in _ARITHMETIC


def _replace(
    module: fx.GraphModule, node: fx.Node, q: fx.Node, factor: float, other: fx.Node
) -> None:
    """Put one activation where `node` was, and where constants multiply it, where they do."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {q: graph.placeholder("q")}

    def copied(value: fx.Node) -> fx.Node:
        if value not in copies:
            copies[value] = graph.node_copy(value, copied)
        return copies[value]

    gate = copied(other)
    if key_at(node) == "div":
        gate = graph.call_function(torch.reciprocal, (gate,))
    last = node
    while (following := _constant_after(last)) is not None:
        last, number = following
        factor *= number
    if factor != 1:
        gate = graph.call_function(torch.mul, (gate, factor))
    graph.output(gate)
    name = f"spelled_activation_{sum(type(m) is SelfGated for m in module.modules()) + 1}"
    module.add_submodule(name, SelfGated(GraphNetwork(module, graph, class_name="Gate")))
    with module.graph.inserting_before(last):
        new = module.graph.call_module(name, (q,))
    new.stack_trace, new.meta = node.stack_trace, dict(node.meta)
    last.replace_all_uses_with(new)
    module.graph.eliminate_dead_code(lambda n: n.op in ("placeholder", "output"))


def _constant_after(node: fx.Node) -> tuple[fx.Node, float] | None:
    """The one use of `node`, if that multiplies or divides it by a number; and the factor."""
    if len(node.users) != 1:
        return None
    (user,) = node.users
    key = key_at(user)
    if key not in _SCALING:
        return None
    left, right = operands(user)
    if left is node and _is_number(right) and key == "mul":
        return user, right
    if right is node and _is_number(left) and key == "mul":
        return user, left
    return (user, 1 / right) if left is node and _is_number(right) and right != 0 else None
