"""Sums of two values, and of a value and a constant.

A constant that is added belongs to the input where no weight layer came before it (a model that
normalises its input). Behind a weight layer it is a bias: left out, or, where biases are asked for,
a path that starts at the constant. A parameter that is added is a bias wherever it stands.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from dualview.conversion.operations import RESHAPING
from dualview.conversion.source_lines import operation_name
from dualview.path_kernel.factor_rules import constant_of, operands, scaled
from dualview.path_kernel.setting import Arguments, Setting, refuse
from dualview.path_kernel.terms import ONE, Term, Value, added, some_tensor

DIFFERENCES = frozenset({operator.sub, torch.sub, "sub"})


def addition(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """The terms of both sides, the second one times its sign and `alpha`."""
    left, right = operands(args, kwargs)
    factor = kwargs.get("alpha", 1) * (-1 if node.target in DIFFERENCES else 1)
    sources = (*node.args, *(node.kwargs[k] for k in ("input", "other") if k in node.kwargs))
    like = left if isinstance(left, Value) else right
    random = not is_of_the_input(like)
    if not isinstance(left, Value):
        left = constant_value(node, like, left, sources[0], setting, random=random)
    if not isinstance(right, Value):
        right = constant_value(node, like, right, sources[1], setting, random=random)
    if right is not None and factor != 1:
        right = scaled(node, right, factor)
    if left is None or right is None:
        return left or right
    return sum_of(node, left, right)


def sum_of(node: fx.Node, left: Value, right: Value) -> Value:
    """The sum of two values of one shape."""
    if (left.channels, left.positions) != (right.channels, right.positions):
        refuse(node, "it adds values of different shapes")
    terms = added(left.terms, right.terms)
    if terms is None:
        refuse(
            node,
            "its branches hold the same random values at different positions, seen through "
            "different maps",
        )
    return replace(left, terms=terms)


def is_of_the_input(value: Value) -> bool:
    """Whether no weight or bias came before: the input itself, gated, shifted and scaled."""
    return all(term.origin == ONE for term in value.terms)


def constant_value(
    node: fx.Node,
    like: Value,
    constant: Tensor | float,
    made_of: Any,
    setting: Setting,
    *,
    random: bool,
) -> Value | None:
    """A constant as a value of the shape of `like`, or None where it is left out.

    `made_of` is the graph's node of it, where there is one; `random` says that what it is added or
    joined to has passed a weight layer.
    """
    spread = constant_of(node, like, constant)
    if isinstance(made_of, fx.Node) and reads_parameter(made_of):
        if not setting.biases:
            return None
        entries = _entries(made_of)
        if entries is None:
            refuse(node, "it adds what is made of a parameter by more than a change of shape")
        return replace(like, terms=(entries_term(node, like, *entries, setting),))
    if random and not setting.biases:
        return None
    return replace(like, terms=(one_term(spread, spread),))


def one_term(left: Tensor, right: Tensor) -> Term:
    """What is not random: the constant 1 times a factor (examples, channels, *positions)."""
    channels = torch.zeros(left.shape[1], dtype=torch.long)
    return Term(None, left, right, 0.0, ONE, channels)


def bias_moments(setting: Setting) -> tuple[float, ...]:
    """A bias's part in the NPK, its variance, and in the NTK, where that is carried."""
    assert setting.bias_variance is not None
    return (setting.bias_variance, 1.0) if setting.ntk else (setting.bias_variance,)


def origin_of(parameter: Tensor) -> tuple[str, int]:
    """Names the random values of a bias: the same ones wherever it is used."""
    return ("bias", id(parameter))


# Parameters that the graph adds


def _attribute(node: fx.Node) -> Any:
    return operator.attrgetter(str(node.target))(node.graph.owning_module)


def reads_parameter(node: fx.Node) -> bool:
    """Whether a node's value is made of a parameter."""
    if node.op == "get_attr":
        return isinstance(_attribute(node), nn.Parameter)
    return any(reads_parameter(source) for source in node.all_input_nodes)


def _entries(node: fx.Node) -> tuple[Tensor, tuple[str, int]] | None:
    """Which entry of a parameter stands where in `node`, and whose; None if it is not only moved.

    Found by moving numbers in place of the entries.
    """
    if node.op == "get_attr":
        parameter = _attribute(node)
        if not isinstance(parameter, nn.Parameter):
            return None
        return torch.arange(parameter.numel()).reshape(parameter.shape), origin_of(parameter)
    first: Any = node.args[0] if node.args else None
    moves = operation_name(node) in (*RESHAPING, "expand", "getitem")
    if not moves or node.all_input_nodes != [first] or node.op == "call_module":
        return None
    found = _entries(first)
    if found is None:
        return None
    rest, target = node.args[1:], node.target
    if node.op == "call_method":
        return getattr(found[0], str(target))(*rest, **node.kwargs), found[1]
    return target(found[0], *rest, **node.kwargs), found[1]  # type: ignore[operator]


def entries_term(
    node: fx.Node, like: Value, index: Tensor, origin: tuple[str, int], setting: Setting
) -> Term:
    """Independent biases: at every channel and position the one whose number stands in `index`."""
    spread = constant_of(node, like, index.double(), "cpu")[0].long()
    spread = spread.reshape(like.channels, -1)  # (c, positions)
    first = spread[:, 0]
    pattern = spread - first[:, None]
    apart = len(spread.unique()) == len(first.unique()) * len(pattern[0].unique())
    if not apart or not bool((pattern == pattern[0]).all()):
        refuse(node, "the entries of its parameter stand at different positions of its channels")
    moments, view = bias_moments(setting), (tuple(pattern[0].tolist()),)
    if not pattern.any():  # one bias a channel, the same at every position
        ones = some_tensor(like).new_ones(1, like.channels, *like.positions)
        return Term(None, ones, ones, 0.0, origin, first, moments=moments)
    same = (pattern[0][:, None] == pattern[0][None, :]).to(some_tensor(like))
    kernel = same.new_tensor(moments)[:, None, None] * same
    kernel = kernel.reshape(-1, 1, 1, 1, *like.positions, *like.positions)
    return Term(kernel, None, None, 0.0, origin, first, view)
