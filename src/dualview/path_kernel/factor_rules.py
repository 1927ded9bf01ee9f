"""Gates, constant factors and additions."""

from __future__ import annotations

import math
import operator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from dualview.path_kernel.setting import Arguments, Setting, refuse
from dualview.path_kernel.terms import Value, added, gated, some_tensor


def gate(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Multiplication by each example's gate."""
    value, pair = args
    return multiplied(value, pair.left, pair.right)


def multiplied(value: Value, left: Tensor, right: Tensor) -> Value:
    """Every term times a factor per example, channel and position."""
    shape = (value.channels, *value.positions)
    left, right = left.reshape(-1, *shape), right.reshape(-1, *shape)
    return replace(value, terms=tuple(gated(term, value, left, right) for term in value.terms))


def product(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Multiplication by a constant: a number, or a tensor of one entry per channel or position."""
    value, factor = args if isinstance(args[0], Value) else args[::-1]
    return _scaled(node, value, factor)


def quotient(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Division by a constant."""
    return _scaled(node, args[0], 1 / args[1])


def negation(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Multiplication by -1."""
    return _scaled(node, args[0], -1.0)


def _scaled(node: fx.Node, value: Value, factor: Tensor | float) -> Value:
    like = some_tensor(value)
    tensor = torch.as_tensor(factor, dtype=like.dtype, device=like.device)
    shape = (
        (1, value.channels * math.prod(value.positions))
        if value.flat
        else (
            1,
            value.channels,
            *value.positions,
        )
    )
    constant = tensor.detach().expand(shape)
    return multiplied(value, constant, constant)


def addition(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """The terms of both branches; a constant is a bias, which the kernel leaves out."""
    left, right = args
    sign = -1.0 if node.target in (operator.sub, torch.sub, "sub") else 1.0
    sign *= kwargs.get("alpha", 1)
    if not (isinstance(left, Value) and isinstance(right, Value)):
        if setting.bias_variance > 0:
            refuse(node, "it adds a constant, whose variance is not given")
        return left if isinstance(left, Value) else right
    if sign != 1:
        right = _scaled(node, right, sign)
    if (left.channels, left.positions) != (right.channels, right.positions):
        refuse(node, "it adds values of different shapes")
    terms = added(left.terms, right.terms)
    if terms is None:
        refuse(node, "both branches end in the same weights, seen through different maps")
    return replace(left, terms=terms)


def identity(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Any:
    """Nothing new: dropout in evaluation mode, identity, changes of type or memory."""
    return args[0]


def row_of_ones(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """A constant-1 input: one row for all examples."""
    (term,) = args[0].terms
    left, right = (torch.ones_like(factor[:1]) for factor in (term.left, term.right))
    return replace(args[0], terms=(replace(term, left=left, right=right),))
