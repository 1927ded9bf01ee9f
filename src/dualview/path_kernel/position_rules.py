"""Pooling, means and sums, max pools whose choices are given, attention: maps over positions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from dualview.conversion.normal_form import Call
from dualview.conversion.spellings import functional
from dualview.path_kernel.axis_rules import map_axes, ordered, reshaped
from dualview.path_kernel.factor_rules import axes_of, times
from dualview.path_kernel.layout import Layout
from dualview.path_kernel.positions import LEADING
from dualview.path_kernel.setting import Pair, Setting, refuse
from dualview.path_kernel.spread import (
    both_sides,
    check_size,
    explicit,
    spread_channels,
    summed_over,
)
from dualview.path_kernel.terms import SideStep, Term, Value, settled, whole_kernel, with_groups


def pooling(node: fx.Node, call: Call, setting: Setting) -> Value:
    """Average pooling over the last axes."""
    value, dims = call["input"], call["dims"]
    options = {name: v for name, v in call.arguments.items() if name not in ("input", "dims")}
    function = functional(call.key, dims)
    if dims == 1:
        options.pop("divisor_override", None)
    if call.key == "adaptive average pool":
        size = options["output_size"]
        options["output_size"] = tuple(size) if isinstance(size, list) else size
    return _pooled(
        node, value, dims, lambda image: function(image, **options), repr((dims, options))
    )


def interpolation(node: fx.Node, call: Call, setting: Setting) -> Value:
    """Upsampling, and any other linear change of size."""
    value: Value = call["input"]
    options = {name: v for name, v in call.arguments.items() if name != "input"}
    return _pooled(
        node,
        value,
        len(value.shape) - 1,
        lambda image: F.interpolate(image, **options),
        repr(options),
    )


def _pooled(
    node: fx.Node, value: Value, dims: int, function: Callable[[Tensor], Tensor], name: str
) -> Value:
    if len(value.shape) < dims:
        refuse(node, "it pools over the examples")
    axes = list(range(len(value.shape) - dims, len(value.shape)))
    return map_axes(value, axes, function, name, selects=False)


def mean(node: fx.Node, call: Call, setting: Setting) -> Value:
    """Mean or sum over some axes of an example."""
    value: Value = call["input"]
    dims = call["dim"]
    axes = axes_of(value, [] if dims is None else dims)
    if not axes or -1 in axes:
        refuse(node, "it averages over the examples")
    shape = [1 if k in axes else size for k, size in enumerate(value.shape)]
    made = value.with_terms([summed_over(term, axes) for term in value.terms], shape)
    if call.key == "mean":
        made = times(node, made, 1 / math.prod(value.shape[k] for k in axes))
    if call["keepdim"]:
        return made
    return reshaped(node, made, [size for k, size in enumerate(value.shape) if k not in axes])


# Maps that depend on the example


def max_pool_switch(node: fx.Node, call: Call, setting: Setting) -> Value:
    """A max pool whose choices are given: every entry copies one."""
    value, pair, dims = call["input"], call["switch"], call["dims"]
    shape = tuple(pair.left.shape[1:])

    def pick(tensor: Tensor, side: int) -> Tensor:  # (n, k, *shape)
        switch = (pair.left, pair.right)[side].flatten(-dims).unsqueeze(1)
        flat = tensor.flatten(-dims)
        flat = flat.expand(len(switch), *flat.shape[1:])
        switch = switch.expand(-1, flat.shape[1], *switch.shape[2:])
        return flat.gather(-1, switch).unflatten(-1, shape[len(shape) - dims :])

    first = len(value.shape) - dims
    if all(_is_image(term, dims) for term in value.terms):
        terms = [_chosen(term, pair, shape, pick, ("switch", node)) for term in value.terms]
    else:
        axes, name = range(first, len(value.shape)), ("switch", node)
        terms = [_by_example(term, shape, axes, pick, name) for term in value.terms]
    return value.with_terms(terms, shape)


def _is_image(term: Term, dims: int) -> bool:
    """Whether the last axes are positions, in order, and all others channels."""
    layout = term.layout
    places = range(len(layout.axes) - dims, len(layout.axes))
    atoms = [atom for axis in places for atom in layout.axes[axis]]
    return atoms == list(range(layout.n_channels, len(layout.sizes)))


def _chosen(
    term: Term, pair: Pair, shape: tuple[int, ...], pick: Callable[[Tensor, int], Tensor], name: Any
) -> Term:
    """Every entry of the kernel picked by both sides' choices, channel by channel."""
    old = term.layout
    new = _image_layout(old, shape)

    def act(array: Tensor, side: int) -> Tensor:
        return new.arranged(pick(old.as_tensor(array, 2), side), 2)

    if term.is_certain:
        return _of_certain(term, act, new)
    before, term = term, settled(term)
    left, right = (
        act(factor.unsqueeze(1), side).squeeze(1) if factor is not None else None
        for side, factor in enumerate((term.left, term.right))
    )
    made = replace(term, left=left, right=right, view=(*term.view, name), layout=new)
    if term.kernel is None:
        return before.after(SideStep(act), made)
    n1, n2, c = len(pair.left), len(pair.right), old.channels
    sides = (new.arranged(side) for side in (pair.left, pair.right))
    first, second = (side.reshape(len(side), c, -1) for side in sides)
    count, places = math.prod(old.positions), math.prod(new.positions)
    check_size(places, places, c)
    fine = with_groups(term)
    flat = fine.reshape(*fine.shape[:LEADING], count, count).expand(-1, n1, n2, c, count, count)

    def axis(size: int, dim: int) -> Tensor:
        sizes = [-1 if d == dim else 1 for d in range(5)]
        return torch.arange(size, device=first.device).reshape(sizes)

    at = first[:, None, :, :, None], second[None, :, :, None, :]
    chosen = flat[:, axis(n1, 0), axis(n2, 1), axis(c, 2), *at]
    kernel = chosen.reshape(-1, n1, n2, c, *new.positions, *new.positions)
    return before.after(SideStep(act), made, kernel=kernel)


def _image_layout(old: Layout, shape: tuple[int, ...]) -> Layout:
    """The channels as they are, and every axis without channels a position."""
    places = [k for k in range(len(shape)) if k not in old.channel_axes and shape[k] != 1]
    number = {axis: old.n_channels + k for k, axis in enumerate(places)}
    axes = tuple(
        old.axes[k] if k in old.channel_axes else ((number[k],) if k in number else ())
        for k in range(len(shape))
    )
    return Layout((*old.channel_sizes, *(shape[k] for k in places)), old.n_channels, axes)


def _of_certain(term: Term, act: Callable[[Tensor, int], Tensor], new: Layout) -> Term:
    sides = [act(f.unsqueeze(1), k).squeeze(1) for k, f in enumerate(term.factors)]
    channels = torch.zeros(new.channels, dtype=torch.long)
    return replace(term, left=sides[0], right=sides[1], layout=new, channels=channels)


def attention(node: fx.Node, call: Call, setting: Setting) -> Value:
    """Attention weights, which each example gives, times values; on either side."""
    first, second = call["input"], call["other"]
    value, pair = (second, first) if isinstance(second, Value) else (first, second)
    if not (isinstance(value, Value) and isinstance(pair, Pair)):
        refuse(node, "it is no product of attention weights and values")
    rank = len(value.shape)
    axis = rank - 2 if value is second else rank - 1

    def weigh(tensor: Tensor, side: int) -> Tensor:
        weights = (pair.left, pair.right)[side].unsqueeze(1)
        return weights @ tensor if value is second else tensor @ weights

    one = weigh(value.like.new_zeros(1, 1, *value.shape), 0) if rank >= 2 else None
    if one is None or one.dim() != rank + 2:
        refuse(node, "it is no product of attention weights and values of as many axes")
    shape = one.shape[2:]
    terms = [_by_example(t, shape, [axis], weigh, ("weighed", node)) for t in value.terms]
    return value.with_terms(terms, shape)


def _by_example(
    term: Term,
    shape: Sequence[int],
    axes: Sequence[int],
    function: Callable[[Tensor, int], Tensor],
    name: Any,
) -> Term:
    """A term after a linear map of each example's own, (n, k, *old shape) -> (n, k, *shape).

    It reads entries along `axes` alone; what it does may differ with all the others.
    """
    term = ordered(spread_channels(term, [a for k in axes for a in term.layout.channel_atoms(k)]))
    old = term.layout
    if any(shape[k] != old.shape[k] for k in old.channel_axes):  # it repeats channels
        term = explicit(term)
        old = term.layout
    new = Layout.of(shape, old.channel_axes)

    def act(array: Tensor, side: int) -> Tensor:
        return new.arranged(function(old.as_tensor(array, 2), side), 2)

    step = SideStep(act)
    if term.is_certain:
        return _of_certain(term, act, new)
    places = max(math.prod(old.positions), math.prod(new.positions))
    check_size(places, places, old.channels)
    kernel = whole_kernel(term)
    kernel = kernel.expand(*kernel.shape[:3], old.channels, *kernel.shape[LEADING:])
    kernel = both_sides(kernel, [step], [step], old, new)
    view = (*settled(term).view, name)
    return term.after(step, kernel=kernel, left=None, right=None, layout=new, view=view, pending=())
