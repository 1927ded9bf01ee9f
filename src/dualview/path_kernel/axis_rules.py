"""What moves entries: changes of shape, permutations, slices, copies, padding, rolls.

Channels keep their identity: where two selections of one value are added, they share random values
at those channels only where both hold the same one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from dualview.conversion.normal_form import Call
from dualview.path_kernel.layout import Layout
from dualview.path_kernel.setting import Pair, Setting, refuse
from dualview.path_kernel.spread import explicit, spread_channels
from dualview.path_kernel.terms import (
    NOWHERE,
    Term,
    Value,
    in_order,
    mapped,
    seen_as,
    select_channels,
    with_channels_in_order,
)

Selection = Callable[[Tensor, float], Tensor]
"""Copies, drops or moves entries along the first axis; what comes from nowhere is the number."""

ImageMap = Callable[[Tensor], Tensor]
"""(k, 1, *sizes) -> (k, 1, *new sizes), every image alike."""


# Maps over some axes


def map_axes(
    value: Value, axes: Sequence[int], function: ImageMap, name: Hashable, *, selects: bool
) -> Value:
    """Every term after a linear map over some axes, all other axes alike.

    `selects` says that each new entry copies one old one, or is 0. Equal names are equal maps.
    """
    example = function(value.like.new_zeros(1, 1, *(value.shape[a] for a in axes)))
    shape = list(value.shape)
    for axis, size in zip(axes, example.shape[2:], strict=True):
        shape[axis] = size
    terms = [_map_term(t, axes, function, (tuple(axes), name), shape, selects) for t in value.terms]
    return value.with_terms(terms, shape)


def _map_term(
    term: Term,
    axes: Sequence[int],
    function: ImageMap,
    name: Hashable,
    shape: Sequence[int],
    selects: bool,
) -> Term:
    """A term after a linear map of the given axes, which is the same for all others."""
    term = ordered(spread_channels(term, [a for k in axes for a in term.layout.channel_atoms(k)]))
    layout = term.layout
    places = [axis for axis in range(len(layout.axes)) if axis not in layout.channel_axes]
    full = [layout.shape[axis] for axis in places]
    at = [1 + places.index(axis) for axis in axes]
    new = Layout.of(shape, layout.channel_axes)

    def act(array: Tensor) -> Tensor:
        images = array.reshape(len(array), *full).movedim(at, list(range(-len(at), 0)))
        head = images.shape[: images.dim() - len(at)]
        made = function(images.reshape(-1, 1, *images.shape[len(head) :]))
        made = made.reshape(*head, *made.shape[2:])
        return made.movedim(list(range(-len(at), 0)), at).reshape(len(array), *new.positions)

    return mapped(term, act, name, new, selects=selects)


def ordered(term: Term) -> Term:
    """The term with axes of channels and others of positions, in the order of the tensor."""
    layout = term.layout
    both = [k for k in layout.channel_axes if layout.position_atoms(k)]
    return in_order(spread_channels(term, [a for k in both for a in layout.channel_atoms(k)]))


def map_all(value: Value, function: Callable[[Tensor], Tensor], name: Hashable) -> Value:
    """A linear map of whole examples, (k, *shape) -> (k, *new shape): every channel a position."""
    rank = len(value.shape)
    example = function(value.like.new_zeros(1, *value.shape))
    new = tuple(example.shape[1:])

    def act(array: Tensor) -> Tensor:
        made = function(array.reshape(len(array), *value.shape))
        return made.reshape(len(array), *Layout.of(new, ()).positions)

    terms = []
    for term in value.terms:
        whole = explicit(term)
        terms.append(mapped(whole, act, (rank, name), Layout.of(new, ()), selects=False))
    return value.with_terms(terms, new)


# Copies and drops along one axis


def along_axis(node: fx.Node, value: Value, axis: int, chosen: Selection) -> Value:
    """A value after `chosen` has acted along one axis; what chooses alike is the same map."""
    if axis < 0:
        refuse(node, "it cuts or moves another axis than the channels and positions: the examples")
    index = chosen(torch.arange(value.shape[axis]), NOWHERE)
    size = len(index)
    shape = [*value.shape[:axis], size, *value.shape[axis + 1 :]]
    key = ((axis,), tuple(index.tolist()))

    def move(image: Tensor) -> Tensor:
        return chosen(image.movedim(2, 0), 0.0).movedim(0, 2)

    terms = []
    for term in value.terms:
        layout = term.layout
        if layout.channel_atoms(axis) and not layout.position_atoms(axis):
            terms.append(_select(term, axis, chosen, size))
        else:
            terms.append(_map_term(term, (axis,), move, key, shape, True))
    return value.with_terms(terms, shape)


def _select(term: Term, axis: int, chosen: Selection, size: int) -> Term:
    """A term whose axis of channels `chosen` has chosen from, or filled up."""
    atoms = [atom for a in term.layout.channel_axes for atom in term.layout.channel_atoms(a)]
    term = with_channels_in_order(term, atoms)
    layout = term.layout
    own = layout.channel_atoms(axis)
    before = [layout.sizes[a] for a in range(layout.n_channels) if a < own[0]]
    behind = [layout.sizes[a] for a in range(layout.n_channels) if a > own[-1]]
    grid = torch.arange(layout.channels).reshape(math.prod(before), -1, math.prod(behind))
    index = chosen(grid.movedim(1, 0), NOWHERE).movedim(0, 1)
    sizes = (*before, *([size] if size > 1 else []), *behind)
    number: dict[int, tuple[int, ...]] = {}
    shift = (1 if size > 1 else 0) - len(own)
    for atom in range(len(layout.sizes)):
        if atom in own:
            number[atom] = (len(before),) if atom == own[0] and size > 1 else ()
        else:
            number[atom] = (atom,) if atom < own[0] else (atom + shift,)
    axes = tuple(tuple(k for atom in a for k in number[atom]) for a in layout.axes)
    new = Layout((*sizes, *layout.positions), len(sizes), axes)
    return select_channels(term, index.flatten(), new)


def narrowed(node: fx.Node, value: Value, axis: int, start: int, length: int) -> Value:
    """Entries start ... start + length - 1 of an axis of an example."""
    if axis >= 0 and (start, length) == (0, value.shape[axis]):
        return value
    return along_axis(node, value, axis, lambda tensor, _: tensor.narrow(0, start, length))


def narrow(node: fx.Node, call: Call, setting: Setting) -> Value:
    """`torch.narrow`."""
    value, axis = call["input"], axis_of(call["input"], call["dim"])
    start = int(call["start"]) % max(value.shape[axis], 1) if axis >= 0 else 0
    return narrowed(node, value, axis, start, call["length"])


def select(node: fx.Node, call: Call, setting: Setting) -> Value:
    """One entry of an axis, which goes."""
    value, axis = call["input"], axis_of(call["input"], call["dim"])
    return picked(node, value, axis, int(call["index"]))


def picked(node: fx.Node, value: Value, axis: int, index: int) -> Value:
    """One entry of an axis of an example, which goes."""
    if axis < 0:
        refuse(node, "it picks examples")
    value = narrowed(node, value, axis, index % value.shape[axis], 1)
    return reshaped(node, value, [*value.shape[:axis], *value.shape[axis + 1 :]])


def axis_of(value: Value, dim: int) -> int:
    """The axis of an example, of an axis of the tensor; -1 for that of the examples."""
    return dim % (1 + len(value.shape)) - 1


def pieces(node: fx.Node, call: Call, setting: Setting) -> tuple[Value, ...]:
    """`torch.chunk`, `torch.split`, `torch.unbind`."""
    value, axis = call["input"], axis_of(call["input"], call["dim"])
    if axis < 0:
        refuse(node, "it cuts another axis than the channels and positions: the examples")
    numbers = torch.arange(value.shape[axis])
    if call.key == "unbind":
        return tuple(picked(node, value, axis, k) for k in range(value.shape[axis]))
    if call.key == "chunk":
        parts = numbers.chunk(call["chunks"])
    else:
        parts = numbers.split(call["split_size_or_sections"])
    return tuple(
        narrowed(node, value, axis, int(part[0]) if len(part) else 0, len(part)) for part in parts
    )


def listed(node: fx.Node, value: Value, axis: int, index: Any) -> Value:
    """The entries of an axis that a list names; a list of whether keeps some."""
    chosen = torch.as_tensor(index).cpu()
    return along_axis(node, value, axis, lambda tensor, _: tensor[chosen])


def index_select(node: fx.Node, call: Call, setting: Setting) -> Value:
    """`torch.index_select`."""
    value, axis = call["input"], axis_of(call["input"], call["dim"])
    if axis < 0 or not isinstance(call["index"], Tensor):
        refuse(node, "it picks examples, or by what depends on the input")
    return listed(node, value, axis, call["index"])


def index(node: fx.Node, call: Call, setting: Setting) -> Any:
    """`x[:, channels, rows, None, 0]`; an entry of a tuple of values or of a shape."""
    value, key = call["input"], call["key"]
    if not isinstance(value, Value):
        return value[key]
    keys = list(key) if isinstance(key, tuple) else [key]
    missing = 1 + len(value.shape) - sum(k is not None and k is not Ellipsis for k in keys)
    if any(k is Ellipsis for k in keys):
        at = next(i for i, k in enumerate(keys) if k is Ellipsis)
        keys[at : at + 1] = [slice(None)] * missing
    else:
        keys += [slice(None)] * missing
    lists = [k for k in keys if isinstance(k, list) or (isinstance(k, Tensor) and k.dim() == 1)]
    known = [k for k in keys if k is None or isinstance(k, int | slice)]
    if keys[0] != slice(None) or len(lists) + len(known) < len(keys) or len(lists) > 1:
        refuse(node, "it picks examples, or by several lists at once, or by what an example gives")
    if lists and any(isinstance(k, int) for k in keys):
        refuse(node, "it picks by a list and by a number at once")
    axis = 0
    for k in keys[1:]:
        if k is None:
            value = reshaped(node, value, [*value.shape[:axis], 1, *value.shape[axis:]])
        elif isinstance(k, int):
            value = picked(node, value, axis, k)
            axis -= 1
        elif isinstance(k, slice):
            value = _sliced(node, value, axis, k)
        else:
            value = listed(node, value, axis, k)
        axis += 1
    return value


def _sliced(node: fx.Node, value: Value, axis: int, key: slice) -> Value:
    start, stop, step = key.indices(value.shape[axis])
    if (start, stop, step) == (0, value.shape[axis], 1):
        return value
    return along_axis(node, value, axis, lambda tensor, _: tensor[start : max(start, stop) : step])


def roll(node: fx.Node, call: Call, setting: Setting) -> Value:
    """`torch.roll` of channels or positions."""
    value: Value = call["input"]
    shifts, axes = (
        [g] if isinstance(g, int) else list(g or ()) for g in (call["shifts"], call["dims"])
    )
    if not axes:
        refuse(node, "it rolls all axes as one")
    for shift, axis in zip(shifts, axes, strict=True):

        def rolled(tensor: Tensor, _: float, shift: int = shift) -> Tensor:
            return tensor.roll(shift, 0)

        value = along_axis(node, value, axis_of(value, axis), rolled)
    return value


def flip(node: fx.Node, call: Call, setting: Setting) -> Value:
    """`torch.flip` of channels or positions."""
    value, axes = call["input"], call["dims"]
    for axis in [axes] if isinstance(axes, int) else axes:
        value = along_axis(node, value, axis_of(value, axis), lambda tensor, _: tensor.flip(0))
    return value


def channel_shuffle(node: fx.Node, call: Call, setting: Setting) -> Value:
    """`nn.ChannelShuffle`."""
    value: Value = call["input"]
    order = torch.arange(value.shape[0]).unflatten(0, (call["groups"], -1)).T.flatten()
    return listed(node, value, 0, order)


def repeat(node: fx.Node, call: Call, setting: Setting) -> Value:
    """`repeat` and `tile`."""
    value: Value = call["input"]
    given = call["repeats"] if call.key == "repeat" else call["dims"]
    counts = [given] if isinstance(given, int) else list(given)
    rank = 1 + len(value.shape)
    if call.key == "tile":
        counts = [1] * (rank - len(counts)) + counts
    if len(counts) != rank or counts[0] != 1:
        refuse(node, "it repeats examples, or adds axes")
    for axis, count in enumerate(counts[1:]):
        if count != 1:

            def repeated(tensor: Tensor, _: float, count: int = count) -> Tensor:
                return torch.cat([tensor] * count)

            value = along_axis(node, value, axis, repeated)
    return value


def broadcast(value: Value, shape: Sequence[int]) -> Value:
    """The value with axes of length 1 repeated, as broadcasting does."""
    for axis, (have, want) in enumerate(zip(value.shape, shape, strict=True)):
        if have != want:

            def expanded(image: Tensor, count: int = want) -> Tensor:
                return image.expand(*image.shape[:2], count)

            value = map_axes(value, (axis,), expanded, (0,) * want, selects=True)
    return value


def expand(node: fx.Node, call: Call, setting: Setting) -> Value:
    """`expand`, `expand_as` and `torch.broadcast_to`."""
    value: Value = call["input"]
    if call.key == "expand as":
        sizes: list[int] = [-1, *shape_of(call["other"])]
    else:
        sizes = list(call["size"])
    rank = 1 + len(value.shape)
    if len(sizes) != rank or sizes[0] not in (-1, value.rows, _rows_of(value)):
        refuse(node, f"it expands to {tuple(sizes)}, which adds axes or repeats examples")
    inner = [own if s == -1 else s for s, own in zip(sizes[1:], value.shape, strict=True)]
    return broadcast(value, inner)


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of one example."""
    if isinstance(value, Value):
        return value.shape
    tensor = value.left if isinstance(value, Pair) else value
    return tuple(tensor.shape[1:])


# Padding


def with_margins(node: fx.Node, value: Value, axis: int, before: int, behind: int) -> Value:
    """Zeros before and behind an axis of an example; fewer than none cut it."""

    def pad(tensor: Tensor, fill: float) -> Tensor:
        return F.pad(tensor, [0, 0] * (tensor.dim() - 1) + [before, behind], value=fill)

    return along_axis(node, value, axis, pad)


def padded(node: fx.Node, value: Value, widths: Sequence[int], mode: str) -> Value:
    """`F.pad` by zeros, or by copies of positions."""
    pairs = list(zip(widths[::2], widths[1::2], strict=True))  # of the last axis first
    if len(pairs) > len(value.shape) and any(any(pair) for pair in pairs[len(value.shape) :]):
        refuse(node, "it adds examples")
    if mode != "constant":
        axes = range(len(value.shape) - len(pairs), len(value.shape))
        name = ("pad", mode, tuple(widths))
        given = list(widths)
        return map_axes(
            value, list(axes), lambda image: F.pad(image, given, mode), name, selects=True
        )
    for k, (before, behind) in enumerate(pairs):
        if before or behind:
            value = with_margins(node, value, len(value.shape) - 1 - k, before, behind)
    return value


# Changes of shape, and permutations


def reshaped(node: fx.Node, value: Value, shape: Sequence[int]) -> Value:
    """The same entries in another shape of one example."""
    terms = []
    for term in value.terms:
        layout = term.layout.reshaped(shape)
        if layout is None:
            term = explicit(term)
            layout = term.layout.reshaped(shape)
        assert layout is not None, "positions alone have any shape"
        terms.append(seen_as(term, layout))
    return value.with_terms(terms, shape)


_ROWS = 1009
"""Stands for the number of examples where an operation is asked for the shape it makes."""


def reshape(node: fx.Node, call: Call, setting: Setting) -> Value:
    """`view`, `reshape` and their like, that keep the examples apart."""
    value: Value = call["input"]
    if call.key == "reshape":
        return reshaped(node, value, _inner_shape(node, value, call["shape"]))
    if call.key == "reshape as":
        return reshaped(node, value, _inner_shape(node, value, (-1, *shape_of(call["other"]))))
    stand_in = torch.empty(_ROWS, *value.shape, device="meta")
    if call.key == "flatten":
        made = stand_in.flatten(call["start_dim"], call["end_dim"])
    elif call.key == "unflatten":
        made = stand_in.unflatten(call["dim"], call["sizes"])
    elif call.key == "unsqueeze":
        made = stand_in.unsqueeze(call["dim"])
    else:
        dim = call["dim"]
        made = stand_in.squeeze() if dim is None else stand_in.squeeze(dim)
    if made.shape[:1] != (_ROWS,):
        refuse(node, "it changes the axis of the examples")
    return reshaped(node, value, made.shape[1:])


def _inner_shape(node: fx.Node, value: Value, sizes: Any) -> tuple[int, ...]:
    given = [sizes] if isinstance(sizes, int) else list(sizes)
    entries = math.prod(value.shape)
    known = math.prod(size for size in given[1:] if size != -1)
    inner = tuple(entries // max(known, 1) if size == -1 else size for size in given[1:])
    if math.prod(inner) != entries:  # else the first one is the number of examples
        refuse(
            node,
            f"it makes {tuple(given)} of (n, {', '.join(map(str, value.shape))}), which does not "
            f"keep the examples apart",
        )
    return inner


def _rows_of(value: Value) -> int:
    sides = [t.left if t.left is not None else t.kernel for t in value.terms]
    axes = [0 if t.left is not None else 1 for t in value.terms]
    counts = [side.shape[k] for side, k in zip(sides, axes, strict=True) if side is not None]
    return max(value.rows, *counts)


def permute(node: fx.Node, call: Call, setting: Setting) -> Value:
    """`permute`, `transpose`, `movedim`, `t`."""
    value: Value = call["input"]
    sizes = [*range(2, 3 + len(value.shape))]
    stand_in = torch.empty(sizes, device="meta")
    if call.key == "permute":
        made = stand_in.permute(*[call["dims"]])
    elif call.key == "transpose":
        made = stand_in.transpose(call["dim0"], call["dim1"])
    elif call.key == "movedim":
        made = stand_in.movedim(call["source"], call["destination"])
    else:
        made = stand_in.t()
    order = [sizes.index(size) for size in made.shape]
    if order[0] != 0:
        refuse(node, "it moves the axis of the examples")
    return permuted(value, [axis - 1 for axis in order[1:]])


def permuted(value: Value, order: Sequence[int]) -> Value:
    """The value whose axis k of an example is axis order[k] now."""
    terms = [replace(term, layout=term.layout.permuted(order)) for term in value.terms]
    return value.with_terms(terms, [value.shape[axis] for axis in order])


def pixel_shuffle(node: fx.Node, call: Call, setting: Setting) -> Value:
    """`F.pixel_shuffle`: channels become positions."""
    value, r = call["input"], call["factor"]
    c, h, w = value.shape
    value = reshaped(node, value, (c // r**2, r, r, h, w))
    return reshaped(node, permuted(value, (0, 3, 1, 4, 2)), (c // r**2, h * r, w * r))


def pixel_unshuffle(node: fx.Node, call: Call, setting: Setting) -> Value:
    """`F.pixel_unshuffle`: positions become channels."""
    value, r = call["input"], call["factor"]
    c, h, w = value.shape
    value = reshaped(node, value, (c, h // r, r, w // r, r))
    return reshaped(node, permuted(value, (0, 2, 4, 1, 3)), (c * r**2, h // r, w // r))


def shape_query(node: fx.Node, call: Call, setting: Setting) -> Any:
    """Sizes as the first side's examples would have them."""
    value: Value = call["input"]
    shape = torch.Size((_rows_of(value), *value.shape))
    if call.key == "dim" or call.get("name") == "ndim":
        return len(shape)
    if call.get("name") == "shape":
        return shape
    if call.key == "size":
        return shape if call["dim"] is None else shape[call["dim"]]
    if call.get("name") in ("dtype", "device"):
        return getattr(value.like, call["name"])
    return refuse(node, "it reads a property of a tensor")
