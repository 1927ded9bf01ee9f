"""Slices, padding, chunks and concatenation: what picks channels or positions, or adds zeros."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from typing import Any

from torch import Tensor, fx
from torch.nn import functional as F

from dualview.path_kernel.position_rules import map_positions
from dualview.path_kernel.setting import Arguments, Setting, refuse
from dualview.path_kernel.terms import Term, Value, with_channels


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
        value = map_positions(node, value, lambda image: F.pad(image, inner, mode), selects=True)
    if any(outer):
        before, after = outer
        value = _pad_channels(value, before, after)
    return value


def _pad_channels(value: Value, before: int, after: int) -> Value:
    def pad(factor: Tensor) -> Tensor:
        return F.pad(factor, (0, 0) * (factor.dim() - 2) + (before, after))

    terms = tuple(with_channels(term, value, pad) for term in value.terms)
    return replace(value, terms=terms, channels=before + value.channels + after)


def index(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Any:
    """`x[:, channels, rows, columns]` by slices; an entry of a tuple of values or of a shape."""
    value, key = args
    if not isinstance(value, Value):
        return value[key]
    keys = list(key) if isinstance(key, tuple) else [key]
    rank = 2 if value.flat else 2 + value.dims
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (rank - len(keys) + 1)
    keys += [slice(None)] * (rank - len(keys))
    if not all(isinstance(k, slice) for k in keys) or keys[0] != slice(None):
        refuse(node, "it picks examples, or single channels or positions")
    inner = tuple(keys[2:])
    if any(k != slice(None) for k in inner):
        everything = (slice(None), slice(None))
        value = map_positions(node, value, lambda image: image[(*everything, *inner)], selects=True)
    return value if keys[1] == slice(None) else _slice_channels(node, value, keys[1])


def _slice_channels(node: fx.Node, value: Value, key: slice) -> Value:
    if value.flat and math.prod(value.positions) > 1:
        refuse(node, "it slices a flattened image")
    terms = tuple(with_channels(term, value, lambda f: f[:, key]) for term in value.terms)
    return replace(value, terms=terms, channels=len(range(value.channels)[key]))


def chunk(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Any:
    """`torch.chunk` of the channels."""
    value, count = args[0], args[1]
    axis = kwargs.get("dim", args[2] if len(args) > 2 else 0)
    if axis != 1:
        refuse(node, "it cuts another axis than the channels")
    size = -(-value.channels // count)
    return tuple(
        _slice_channels(node, value, slice(start, start + size))
        for start in range(0, value.channels, size)
    )


def concatenation(
    node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting
) -> Value:
    """Concatenation of channels: each part's terms, zero in the others' channels."""
    parts: list[Value] = list(args[0])
    axis: Any = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    first = parts[0]
    alike = all((p.positions, p.flat) == (first.positions, first.flat) for p in parts)
    flattened = first.flat and math.prod(first.positions) > 1
    if axis % (2 + (0 if first.flat else first.dims)) != 1 or not alike or flattened:
        refuse(node, "it joins another axis than the channels, or flattened images")
    total = sum(part.channels for part in parts)
    terms: list[Term] = []
    before = 0
    for part in parts:
        terms += _pad_channels(part, before, total - before - part.channels).terms
        before += part.channels
    return replace(first, terms=tuple(terms), channels=total)
