"""Sums of two values, and of a value and a constant.

A constant that is added belongs to the input where no weight layer came before it (a model that
normalises its input). Behind a weight layer it is a bias: left out, or, where biases are asked for,
a path that starts at the constant. A parameter that is added is a bias wherever it stands.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from dualview.conversion.normal_form import Call, normal_call
from dualview.conversion.operations import RESHAPING
from dualview.conversion.source_lines import attribute_of, called
from dualview.conversion.spellings import key_at
from dualview.conversion.verification import is_batch_size
from dualview.path_kernel.axis_rules import axis_of, broadcast, padded, reshaped, with_margins
from dualview.path_kernel.factor_rules import broadcast_shape, constant_of, times
from dualview.path_kernel.layout import Layout
from dualview.path_kernel.setting import Pair, Setting, refuse
from dualview.path_kernel.spread import check_size
from dualview.path_kernel.sums import added
from dualview.path_kernel.terms import Term, Value, one_term


def addition(node: fx.Node, call: Call, setting: Setting) -> Value:
    """The terms of both sides, the second one times its sign and `alpha`."""
    given = normal_call(node)
    left, right = call["input"], call["other"]
    factor = call["alpha"] * (-1 if call.key == "sub" else 1)
    like = left if isinstance(left, Value) else right
    random = not is_of_the_input(like)
    if not isinstance(left, Value):
        like = _room_for(node, like, left)
        left = constant_value(node, like, left, given["input"], setting, random=random)
        right = like
    if not isinstance(right, Value):
        left = _room_for(node, left, right)
        right = constant_value(node, left, right, given["other"], setting, random=random)
    if right is not None and factor != 1:
        right = times(node, right, factor)
    if left is None or right is None:
        return left or right
    return sum_of(node, left, right)


def _room_for(node: fx.Node, value: Value, constant: Any) -> Value:
    """The value, repeated where a constant that is added is larger."""
    if not isinstance(constant, Tensor):
        return value
    return broadcast(value, broadcast_shape(node, value, constant))


def sum_of(node: fx.Node, left: Value, right: Value) -> Value:
    """The sum of two values."""
    if len(left.shape) != len(right.shape):
        refuse(node, "it adds values of different numbers of axes")
    shape = torch.broadcast_shapes(left.shape, right.shape)
    left, right = broadcast(left, shape), broadcast(right, shape)
    return left.with_terms(added(left.terms, right.terms))


def is_of_the_input(value: Value) -> bool:
    """Whether no weight or bias came before: the input itself, gated, shifted and scaled."""
    return all(term.is_certain for term in value.terms)


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
    if isinstance(constant, Pair):
        refuse(node, "it adds what depends on the example, but is no part of the signal")
    spread = constant_of(node, like, constant)
    if isinstance(made_of, fx.Node) and reads_parameter(made_of):
        if not setting.biases:
            return None
        entries = entries_of(made_of)
        if entries is None:
            refuse(node, "it adds what is made of a parameter by more than a change of shape")
        return like.with_terms([entries_term(node, like, *entries, setting)])
    if random and not setting.biases:
        return None
    return like.with_terms([one_term(spread, spread)])


def shifted(
    node: fx.Node, value: Value, bias: Tensor | None, shape: tuple[int, ...], setting: Setting
) -> Value:
    """The value plus the operation's bias in this shape: a parameter, or a constant that is added.

    Behind a weight layer, and for a parameter everywhere, it is left out unless biases count.
    """
    if bias is None:
        return value
    source = normal_call(node)["bias"]
    added: Value | None = None
    if not (isinstance(source, fx.Node) and reads_parameter(source)):
        random = not is_of_the_input(value)
        bias = bias.detach().reshape(shape)
        added = constant_value(node, value, bias, None, setting, random=random)
    elif setting.biases:
        entries = entries_of(source)
        if entries is None:
            refuse(node, "its bias is made of a parameter by more than a change of shape")
        index = entries[0].reshape(shape)
        added = value.with_terms([entries_term(node, value, index, entries[1], setting)])
    return value if added is None else sum_of(node, value, added)


def bias_moments(setting: Setting) -> tuple[float, ...]:
    """A bias's part in the NPK, its variance, and in the NTK, where that is carried."""
    assert setting.bias_variance is not None
    return (setting.bias_variance, 1.0) if setting.ntk else (setting.bias_variance,)


def origin_of(parameter: Tensor) -> tuple[str, int]:
    """Names the random values of a bias: the same ones wherever it is used."""
    return ("bias", id(parameter))


# Parameters that the graph adds


def reads_parameter(node: fx.Node) -> bool:
    """Whether a node's value is made of a parameter."""
    if node.op == "get_attr":
        return isinstance(attribute_of(node), nn.Parameter)
    return any(reads_parameter(source) for source in node.all_input_nodes)


def entries_of(node: fx.Node) -> tuple[Tensor, tuple[str, int]] | None:
    """Which entry of a parameter stands where in `node`, and whose; None if it is not only moved.

    Found by moving numbers in place of the entries.
    """
    if node.op == "get_attr":
        parameter = attribute_of(node)
        if not isinstance(parameter, nn.Parameter):
            return None
        return torch.arange(parameter.numel()).reshape(parameter.shape), origin_of(parameter)
    first: Any = node.args[0] if node.args else None
    moves = key_at(node) in RESHAPING | {"expand", "getitem"}
    sizes = [source for source in node.all_input_nodes if source is not first]
    if not moves or node.op == "call_module" or not all(map(is_batch_size, sizes)):
        return None
    found = entries_of(first)
    if found is None:
        return None
    # A size read off the examples is their number here; one row stands for all of them.
    rest, kwargs = fx.map_arg((node.args[1:], dict(node.kwargs)), lambda size: 1)
    return called(node, (found[0], *rest), kwargs), found[1]


def entries_term(
    node: fx.Node, like: Value, index: Tensor, origin: tuple[str, int], setting: Setting
) -> Term:
    """Independent biases: at every place the one whose number stands in `index`.

    Axes along which the number changes are of channels, the others of positions.
    """
    spread = constant_of(node, like, index.double(), "cpu")[0].long()  # (*shape)
    axes = [k for k in range(spread.dim()) if bool((spread != spread.narrow(k, 0, 1)).any())]
    layout = Layout.of(like.shape, axes)
    ids = layout.arranged(spread[None])[0].reshape(layout.channels, -1)[:, 0]
    moments = bias_moments(setting)
    if len(ids.unique()) == len(ids):
        ones = like.like.new_ones(1, layout.channels, *layout.positions)
        return Term(None, ones, ones, 0.0, origin, ids, layout, moments=moments, root=origin)
    check_size(spread.numel(), spread.numel())  # one bias at several places
    flat = spread.flatten()
    same = (flat[:, None] == flat[None, :]).to(like.like)
    sizes = Layout.of(like.shape, ()).positions
    kernel = same.new_tensor(moments)[:, None, None] * same
    kernel = kernel.reshape(-1, 1, 1, 1, *sizes, *sizes)
    zero = torch.zeros(1, dtype=torch.long)
    view = (tuple(flat.tolist()),)
    return Term(kernel, None, None, 0.0, origin, zero, Layout.of(like.shape, ()), view, root=origin)


# Concatenation, and padding with constants


def concatenation(node: fx.Node, call: Call, setting: Setting) -> Value:
    """Values side by side along an axis: each with zeros in the place of the others."""
    given: list[Any] = list(call["tensors"])
    first = next(part for part in given if isinstance(part, Value))
    if call.key == "stack":
        axis = call["dim"] % (2 + len(first.shape)) - 1
        if axis < 0:
            refuse(node, "it stacks examples")
        shape = [*first.shape[:axis], 1, *first.shape[axis:]]
        given = [
            reshaped(node, part, shape)
            if isinstance(part, Value)
            else part.unsqueeze(1 + axis)
            if isinstance(part, Tensor)
            else part
            for part in given
        ]
        first = next(part for part in given if isinstance(part, Value))
    else:
        axis = axis_of(first, call["dim"])
    if axis < 0:
        refuse(node, "it joins examples")
    return _joined(node, given, first, axis, setting)


def _joined(node: fx.Node, given: list[Any], first: Value, axis: int, setting: Setting) -> Value:
    """A concatenation as the sum of its parts, each with zeros where the others are."""
    sources: Any = normal_call(node)["tensors"]
    if isinstance(sources, fx.Node):  # a tuple of values
        sources = [sources] * len(given)
    random = any(isinstance(p, Value) and not is_of_the_input(p) for p in given)
    sizes = [p.shape[axis] if isinstance(p, Value) else p.shape[1 + axis] for p in given]
    total: Value | None = None
    for k, (part, source) in enumerate(zip(given, sources, strict=True)):
        if not isinstance(part, Value):
            shape = (*first.shape[:axis], sizes[k], *first.shape[axis + 1 :])
            like = replace(first, shape=shape)
            part = constant_value(node, like, part, source, setting, random=random)
        if part is None:
            continue
        part = with_margins(node, part, axis, sum(sizes[:k]), sum(sizes[k + 1 :]))
        total = part if total is None else sum_of(node, total, part)
    assert total is not None
    return total


def padding(node: fx.Node, call: Call, setting: Setting) -> Value:
    """`F.pad`; a constant other than 0 is one that is added."""
    value, widths = call["input"], list(call["pad"])
    if len(widths) == 2 * call.get("dims", 0) and len(widths) > 2 * len(value.shape):
        refuse(node, "it pads the examples")
    made = padded(node, value, widths, call["mode"])
    fill = call["value"] if call["mode"] == "constant" else None
    if not fill:
        return made
    if not math.isfinite(fill):
        refuse(node, f"it pads with {fill}")
    border = F.pad(value.like.new_zeros(1, *value.shape), widths, value=fill)
    random = not is_of_the_input(value)
    constant = constant_value(node, made, border, None, setting, random=random)
    return made if constant is None else sum_of(node, made, constant)
