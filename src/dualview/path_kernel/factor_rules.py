"""Gates and constant factors."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from dualview.path_kernel.setting import Arguments, Setting, refuse
from dualview.path_kernel.terms import Value, gated, some_tensor


def gate(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Multiplication by each example's gate."""
    value, pair = args
    shape = (-1, value.channels, *value.positions)
    return multiplied(value, pair.left.reshape(shape), pair.right.reshape(shape))


def multiplied(value: Value, left: Tensor, right: Tensor) -> Value:
    """Every term times a factor (examples, channels, *positions) of each side."""
    return replace(value, terms=tuple(gated(term, value, left, right) for term in value.terms))


def product(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Multiplication by a constant: a number, or a tensor of one entry per channel or position."""
    first, second = operands(args, kwargs)
    value, factor = (first, second) if isinstance(first, Value) else (second, first)
    return scaled(node, value, factor)


def quotient(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Division by a constant."""
    value, divisor = operands(args, kwargs)
    if kwargs.get("rounding_mode") is not None:
        refuse(node, "it rounds")
    like = some_tensor(value)  # the division is done in its precision
    return scaled(node, value, 1 / torch.as_tensor(divisor, dtype=like.dtype, device=like.device))


def negation(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Multiplication by -1."""
    return scaled(node, args[0], -1.0)


def operands(args: Arguments, kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Both sides of a sum, product or quotient; `input` is the first argument by now."""
    first, *rest = args
    return first, rest[0] if rest else kwargs["other"]


def scaled(node: fx.Node, value: Value, factor: Tensor | float) -> Value:
    """The value times a constant."""
    if not isinstance(factor, Tensor) or factor.numel() == 1:
        number = float(factor)
        terms = tuple(replace(t, coefficient=t.coefficient * number) for t in value.terms)
        return replace(value, terms=terms)
    constant = constant_of(node, value, factor)
    return multiplied(value, constant, constant)


def constant_of(
    node: fx.Node, value: Value, constant: Tensor | float, device: str | None = None
) -> Tensor:
    """A constant spread over the channels and positions of a value: (1, channels, *positions)."""
    like = some_tensor(value)
    tensor = torch.as_tensor(constant, dtype=like.dtype, device=device or like.device).detach()
    inner = (value.channels, *value.positions)
    seen = (math.prod(inner),) if value.flat else inner
    rank = 1 + len(seen)
    if tensor.dim() == rank and len(tensor) > 1 and bool((tensor == tensor[:1]).all()):
        tensor = tensor[:1]  # one row for every example, made from the size of the batch
    shape = tuple(tensor.shape)
    fits = all(size in (1, want) for size, want in zip(shape[::-1], seen[::-1], strict=False))
    if len(shape) > rank or not fits or (len(shape) == rank and shape[0] != 1):
        refuse(node, f"its constant of shape {shape} does not fit a value of shape (n, *{seen})")
    return tensor.expand(1, *seen).reshape(1, *inner)


def identity(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Any:
    """Nothing new: dropout in evaluation mode, identity, changes of type or memory."""
    return args[0]


def row_of_ones(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """A constant-1 input: one row for all examples."""
    (term,) = args[0].terms
    ones = torch.ones_like(term.left[:1])
    return replace(args[0], terms=(replace(term, left=ones, right=ones),))
