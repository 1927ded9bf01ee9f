"""Gates, multipliers and constant factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import Tensor, fx

from dualview.conversion.normal_form import Call
from dualview.path_kernel.axis_rules import broadcast
from dualview.path_kernel.setting import Pair, Setting, refuse
from dualview.path_kernel.terms import Value, gated, scaled, with_factors


def gate(node: fx.Node, call: Call, setting: Setting) -> Value:
    """Multiplication by each example's gate."""
    return times_pair(node, call["input"], call["gate"])


def times_pair(node: fx.Node, value: Value, pair: Pair) -> Value:
    """The value times what each example gives: a gate, a scale, a weight of a channel."""
    shape = torch.broadcast_shapes(value.shape, tuple(pair.left.shape[1:]))
    if len(shape) != len(value.shape):
        refuse(node, f"its multiplier of shape {tuple(pair.left.shape)} has more axes")
    value = broadcast(value, shape)
    sides = [side.expand(len(side), *shape) for side in (pair.left, pair.right)]
    return multiplied(value, *sides)


def multiplied(value: Value, left: Tensor, right: Tensor) -> Value:
    """Every term times a factor (examples, *shape) of each side."""
    terms = []
    for term in value.terms:
        first = term.layout.arranged(left)
        second = first if left is right else term.layout.arranged(right)
        terms.append(gated(term, first, second))
    return value.with_terms(terms)


def product(node: fx.Node, call: Call, setting: Setting) -> Value:
    """Multiplication by a constant, or by a multiplier that the gating network gives."""
    first, second = call["input"], call["other"]
    value, factor = (first, second) if isinstance(first, Value) else (second, first)
    if isinstance(factor, Value):
        refuse(node, "it multiplies two values")
    if isinstance(factor, Pair):
        return times_pair(node, value, factor)
    return times(node, value, factor)


def quotient(node: fx.Node, call: Call, setting: Setting) -> Value:
    """Division by a constant, or by a multiplier."""
    value, divisor = call["input"], call["other"]
    if call["rounding_mode"] is not None:
        refuse(node, "it rounds")
    if isinstance(divisor, Pair):
        return times_pair(node, value, Pair(1 / divisor.left, 1 / divisor.right))
    like = value.like  # the division is done in its precision
    return times(node, value, 1 / torch.as_tensor(divisor, dtype=like.dtype, device=like.device))


def negation(node: fx.Node, call: Call, setting: Setting) -> Value:
    """Multiplication by -1."""
    return times(node, call["input"], -1.0)


def times(node: fx.Node, value: Value, factor: Tensor | float) -> Value:
    """The value times a constant."""
    if not isinstance(factor, Tensor) or factor.numel() == 1:
        rank = factor.dim() if isinstance(factor, Tensor) else 0
        if rank <= len(value.shape) + 1:
            return value.with_terms([scaled(term, float(factor)) for term in value.terms])
    shape = broadcast_shape(node, value, torch.as_tensor(factor))
    value = broadcast(value, shape)
    constant = constant_of(node, value, factor)
    return multiplied(value, constant, constant)


def broadcast_shape(node: fx.Node, value: Value, constant: Tensor) -> tuple[int, ...]:
    """The shape of one example of a value and a constant together."""
    own = _one_row(value, constant).shape
    if len(own) == len(value.shape) + 1 and own[0] == 1:
        own = own[1:]
    try:
        shape = tuple(torch.broadcast_shapes(value.shape, own))
    except RuntimeError:
        shape = ()
    if len(shape) != len(value.shape):
        _refuse_constant(node, value, constant)
    return shape


def _refuse_constant(node: fx.Node, value: Value, constant: Tensor) -> NoReturn:
    refuse(
        node,
        f"its constant of shape {tuple(constant.shape)} does not fit a value of shape "
        f"(n, {', '.join(map(str, value.shape))})",
    )


def _one_row(value: Value, tensor: Tensor) -> Tensor:
    """A constant with one row for all examples, where it was made from the size of the batch."""
    made = tensor.dim() == 1 + len(value.shape) and len(tensor) > 1
    return tensor[:1] if made and bool((tensor == tensor[:1]).all()) else tensor


def constant_of(
    node: fx.Node, value: Value, constant: Tensor | float, device: str | None = None
) -> Tensor:
    """A constant spread over the entries of a value: (1, *shape)."""
    like = value.like
    if isinstance(constant, Tensor):  # while it has numbers: `like` may be a shape alone
        constant = _one_row(value, constant)
    tensor = torch.as_tensor(constant, dtype=like.dtype, device=device or like.device).detach()
    if broadcast_shape(node, value, tensor) != value.shape:
        _refuse_constant(node, value, tensor)
    return tensor.expand(1, *value.shape)


def identity(node: fx.Node, call: Call, setting: Setting) -> Any:
    """Nothing new: dropout in evaluation mode, identity, changes of type or memory."""
    return call["input"]


def row_of_ones(node: fx.Node, call: Call, setting: Setting) -> Value:
    """A constant-1 input: one row for all examples."""
    value: Value = call["input"]
    (term,) = value.terms
    assert term.left is not None
    ones = torch.ones_like(term.left[:1])
    return Value((replace(with_factors(term, lambda f: f), left=ones, right=ones),), value.shape, 1)


def spread_row(node: fx.Node, call: Call, setting: Setting) -> Any:
    """One row for all examples, seen once for each of them."""
    value, examples = call["input"], call["examples"]
    return replace(value, rows=examples.rows)


def axes_of(value: Value, dims: Any) -> list[int]:
    """Axes of one example, of axes of the tensor; -1 for that of the examples."""
    rank = 1 + len(value.shape)
    given: Sequence[int] = [dims] if isinstance(dims, int) else list(dims)
    return [axis % rank - 1 for axis in given]
