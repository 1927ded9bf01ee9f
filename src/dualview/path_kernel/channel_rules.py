"""Slices, rolls, padding, chunks and concatenation: what moves channels or positions.

Channels keep their identity: where two selections of one value are added, they share random values
at those channels only where both hold the same one.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from dualview.conversion.source_lines import module_of
from dualview.path_kernel.addition_rules import constant_value, is_of_the_input
from dualview.path_kernel.position_rules import map_positions
from dualview.path_kernel.setting import Arguments, Setting, refuse
from dualview.path_kernel.terms import NOWHERE, Term, Value, added, select_channels


def padding_function(
    node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting
) -> Value:
    """`F.pad` of positions, and of channels with zeros."""
    options = inspect.signature(F.pad).bind(*args, **kwargs)
    options.apply_defaults()
    value, pad, mode, fill = options.args
    if fill:
        refuse(node, "it pads with a constant other than 0")
    inner, outer = list(pad[: 2 * value.dims]), list(pad[2 * value.dims :])
    if value.flat or len(outer) > 2:
        refuse(node, "it pads a flattened image, or adds examples")
    if any(inner):
        name = (F.pad, tuple(inner), mode)

        def pad_positions(image: Tensor) -> Tensor:
            return F.pad(image, inner, mode)

        value = map_positions(node, value, pad_positions, selects=True, name=name)
    if any(outer):
        index = F.pad(torch.arange(value.channels), outer, value=NOWHERE)
        value = moved_channels(node, value, index)
    return value


def moved_channels(node: fx.Node, value: Value, index: Tensor) -> Value:
    """The value whose channel i is channel index[i] of `value`; `NOWHERE`: zeros."""
    if value.flat and math.prod(value.positions) > 1:
        refuse(node, "it selects entries of a flattened image")
    terms = tuple(select_channels(term, index) for term in value.terms)
    return replace(value, terms=terms, channels=len(index))


def along_axis(
    node: fx.Node, value: Value, axis: int, function: Callable[[Tensor, int], Tensor], *names: Any
) -> Value:
    """`function(tensor, axis)`, which copies or drops entries of one axis, applied to a value."""
    rank = 2 if value.flat else 2 + value.dims
    axis = axis % rank
    if axis == 0:
        refuse(node, "it cuts or moves another axis than the channels and positions: the examples")
    if axis == 1:
        return moved_channels(node, value, function(torch.arange(value.channels), 0))
    name = (axis, *names)

    def move(image: Tensor) -> Tensor:
        return function(image, axis)

    return map_positions(node, value, move, selects=True, name=name)


def index(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Any:
    """`x[:, channels, rows, columns]`; an entry of a tuple of values or of a shape."""
    value, key = args
    if not isinstance(value, Value):
        return value[key]
    keys = list(key) if isinstance(key, tuple) else [key]
    rank = 2 if value.flat else 2 + value.dims
    if any(k is Ellipsis for k in keys):
        at = next(i for i, k in enumerate(keys) if k is Ellipsis)
        keys[at : at + 1] = [slice(None)] * (rank - len(keys) + 1)
    keys += [slice(None)] * (rank - len(keys))
    listed = isinstance(keys[1], list) or (isinstance(keys[1], Tensor) and keys[1].dim() == 1)
    slices = [k for i, k in enumerate(keys) if not (i == 1 and listed)]
    if not all(isinstance(k, slice) for k in slices) or keys[0] != slice(None):
        refuse(node, "it picks examples, or single channels or positions")
    inner = tuple(keys[2:])
    if any(k != slice(None) for k in inner):
        name = (node.target, repr(inner))

        def pick(image: Tensor) -> Tensor:
            return image[(slice(None), slice(None), *inner)]

        value = map_positions(node, value, pick, selects=True, name=name)
    if not listed and keys[1] == slice(None):
        return value
    chosen = keys[1].cpu() if isinstance(keys[1], Tensor) else keys[1]
    return moved_channels(node, value, torch.arange(value.channels)[chosen])


def chunk(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Any:
    """`torch.chunk` of channels or positions."""
    value, count, axis = _options(args, kwargs, chunks=None, dim=0)
    return _pieces(node, value, axis, -(-_length(node, value, axis) // count))


def split(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Any:
    """`torch.split` of channels or positions, into pieces of one size or of sizes given."""
    if "split_size" in kwargs:  # the method's name of it
        kwargs = {**kwargs, "split_size_or_sections": kwargs["split_size"]}
    value, sizes, axis = _options(args, kwargs, split_size_or_sections=None, dim=0)
    return _pieces(node, value, axis, sizes)


def _pieces(node: fx.Node, value: Value, axis: int, sizes: int | Sequence[int]) -> Any:
    length = _length(node, value, axis)
    numbers = torch.arange(length).split(sizes)
    return tuple(_narrowed(node, value, axis, int(n[0]) if len(n) else 0, len(n)) for n in numbers)


def _length(node: fx.Node, value: Value, axis: int) -> int:
    rank = 2 if value.flat else 2 + value.dims
    if axis % rank == 0:
        refuse(node, "it cuts another axis than the channels and positions: the examples")
    return value.channels if axis % rank == 1 else value.positions[axis % rank - 2]


def _narrowed(node: fx.Node, value: Value, axis: int, start: int, length: int) -> Value:
    return along_axis(
        node, value, axis, lambda t, a: t.narrow(a, start, length), "narrow", start, length
    )


def narrow(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """`torch.narrow` of channels or positions."""
    value, axis, start, length = _options(args, kwargs, dim=None, start=None, length=None)
    return _narrowed(node, value, axis, int(start), length)


def roll(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """`torch.roll` of channels or positions."""
    value, *given = _options(args, kwargs, shifts=None, dims=None)
    shifts, axes = ([g] if isinstance(g, int) else list(g or ()) for g in given)
    if not axes:
        refuse(node, "it rolls all axes as one")
    for shift, axis in zip(shifts, axes, strict=True):
        value = along_axis(node, value, axis, functools.partial(_rolled, shift), "roll", shift)
    return value


def _rolled(shift: int, tensor: Tensor, axis: int) -> Tensor:
    return tensor.roll(shift, axis)


def flip(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """`torch.flip` of channels or positions."""
    if node.op == "call_method" and "dims" not in kwargs and isinstance(args[1], int):
        args = (args[0], list(args[1:]))  # x.flip(1, 2)
    value, axes = _options(args, kwargs, dims=None)
    for axis in [axes] if isinstance(axes, int) else axes:
        value = along_axis(node, value, axis, lambda t, a: t.flip(a), "flip")
    return value


def channel_shuffle(
    node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting
) -> Value:
    """`nn.ChannelShuffle`."""
    module: Any = module_of(node)
    assert isinstance(module, nn.ChannelShuffle)
    channels = torch.arange(args[0].channels)
    return moved_channels(node, args[0], channels.unflatten(0, (module.groups, -1)).T.flatten())


def _options(args: Arguments, kwargs: dict[str, Any], **defaults: Any) -> list[Any]:
    """The value and the options of a call, in order."""
    given = dict(zip(defaults, args[1:], strict=False))
    return [args[0], *({**defaults, **kwargs, **given}[name] for name in defaults)]


def concatenation(
    node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting
) -> Value:
    """Concatenation of channels: each part's terms, zero in the others' channels."""
    given: list[Any] = list(args[0] if args else kwargs["tensors"])
    axis: Any = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    first = next(part for part in given if isinstance(part, Value))
    flattened = first.flat and math.prod(first.positions) > 1
    if axis % (2 + (0 if first.flat else first.dims)) != 1 or flattened:
        refuse(node, "it joins another axis than the channels, or flattened images")
    values = [part for part in given if isinstance(part, Value)]
    if any((p.positions, p.flat) != (first.positions, first.flat) for p in values):
        refuse(node, "it joins values of different positions")
    sources: Any = node.args[0] if node.args else node.kwargs["tensors"]
    if isinstance(sources, fx.Node):  # a tuple of values
        sources = [sources] * len(given)
    random = any(not is_of_the_input(p) for p in values)
    counts = [p.channels if isinstance(p, Value) else p.shape[1] for p in given]
    terms: tuple[Term, ...] = ()
    for k, (part, source) in enumerate(zip(given, sources, strict=True)):
        if not isinstance(part, Value):
            like = replace(first, channels=counts[k])
            part = constant_value(node, like, part, source, setting, random=random)
        if part is not None:
            around = [sum(counts[:k]), sum(counts[k + 1 :])]
            index = F.pad(torch.arange(counts[k]), around, value=NOWHERE)
            joined = added(terms, moved_channels(node, part, index).terms)
            assert joined is not None, "its parts share no channel"
            terms = joined
    return replace(first, terms=terms, channels=sum(counts))
