"""One rule per operation of a DLGN's gating network: what it does to the kernels of its values.

Every rule takes a `Call` and returns the result's `LocalMap`, or None where no position sees one
kernel or the operation has no closed form; filters then come by automatic differentiation. `RULES`
is the table: key of `conversion.normal_form` -> rule. An operation that is not in it has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dualview.conversion.normal_form import UNCHANGED, Call
from dualview.conversion.pooling import each_axis
from dualview.primal.local_maps import (
    LocalMap,
    Window,
    concatenated,
    convolved,
    moved,
    pooled,
    scaled,
    summed,
)


@dataclass(frozen=True)
class MapCall(Call):
    """A call in normal form, with a `LocalMap` for each value that depends on the input.

    Attributes:
        module: the module that is called, if any.
        sizes: the result's positions.
    """

    module: Any = None
    sizes: tuple[int, ...] = ()


Rule = Callable[[MapCall], LocalMap | None]


# Convolutions and pools


def convolution(call: MapCall) -> LocalMap | None:
    """A convolution with constant weights."""
    value, weight = call["input"], call["weight"]
    if not (isinstance(value, LocalMap) and isinstance(weight, Tensor)):
        return None
    sizes = weight.shape[2:]
    if len(sizes) != value.dims:  # an image without an axis of examples
        return None
    strides, dilations, paddings = (
        each_axis(call[option], len(sizes)) for option in ("stride", "dilation", "padding")
    )
    mode = call.get("padding_mode", "zeros")
    if mode == "zeros":
        reaches = [(taps - 1) * spread for taps, spread in zip(sizes, dilations, strict=True)]
        pairs, mode = [*map(_margins, paddings, reaches)], "constant"
    else:
        pairs = _pairs(call.module._reversed_padding_repeated_twice)
    windows = [
        Window(taps, stride, dilation, before, after, mode)
        for taps, stride, dilation, (before, after) in zip(
            sizes, strides, dilations, pairs, strict=True
        )
    ]
    return convolved(value, weight, call["groups"], windows, call.sizes)


def _margins(padding: int | str, reach: int) -> tuple[int, int]:
    """Positions padded before and after, for a window whose taps lie `reach` apart."""
    if isinstance(padding, str):
        return (reach // 2, reach - reach // 2) if padding == "same" else (0, 0)
    return padding, padding


def pooling(call: MapCall) -> LocalMap | None:
    """An average pool.

    How windows over the border are divided (and ceil mode) matters outside the interior only.
    """
    value, size = call["input"], call["kernel_size"]
    if value.dims != call["dims"]:  # an image without channels, or an axis of examples
        return None
    given = (size, call["stride"] or size, call["padding"])
    options = (each_axis(option, value.dims) for option in given)
    windows = [Window(taps, step, 1, pad, pad) for taps, step, pad in zip(*options, strict=True)]
    divisor = call["divisor_override"] or math.prod(window.taps for window in windows)
    return pooled(value, 1 / divisor, windows, call.sizes)


def _pairs(padding: Sequence[int]) -> list[tuple[int, int]]:
    """Padding as `F.pad` takes it, last axis first -> (before, after) of each axis, in order."""
    return list(zip(padding[::2], padding[1::2], strict=True))[::-1]


# Padding and slices


def padding(call: MapCall) -> LocalMap | None:
    """Padding of positions, and of channels with constants; what they add is in the offsets."""
    value, mode = call["input"], call["mode"]
    pairs = _pairs(call["pad"])
    pairs = [(0, 0)] * (value.dims - len(pairs)) + pairs
    channels = pairs[: -value.dims]
    if any(any(pair) for pair in channels[:-1]) or (channels and mode != "constant"):
        return None  # padding examples, or channels by copies
    windows = [
        Window(before=before, after=after, mode=mode) for before, after in pairs[-value.dims :]
    ]
    result = moved(value, windows, call.sizes)
    if not channels:
        return result
    margin = (0, 0) * (value.dims + 1) + channels[-1]
    return replace(result, kernels=F.pad(result.kernels, margin))


def index(call: MapCall) -> LocalMap | None:
    """`x[:, channels, rows, columns]` by slices, positions from the left border on."""
    value: LocalMap = call["input"]
    key = call["key"]
    keys = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (value.dims + 3 - len(keys))
    keys += [slice(None)] * (value.dims + 2 - len(keys))
    if not all(isinstance(k, slice) for k in keys) or keys[0] != slice(None):
        return None
    inner = keys[2:]
    starts = [k.start or 0 for k in inner]
    # An end counted from the left would cut elsewhere in an image of another size.
    resizable = all(k.stop is None or k.stop < 0 for k in inner) and min(starts, default=0) >= 0
    windows = [
        Window(stride=k.step or 1, before=-k.indices(axis.size)[0])
        for k, axis in zip(inner, value.axes, strict=True)
    ]
    result = moved(value, windows, call.sizes)
    kernels = result.kernels[keys[1]]
    return replace(result, kernels=kernels, resizable=result.resizable and resizable)


# Sums, factors, and what changes nothing


def addition(call: MapCall) -> LocalMap | None:
    """Sum or difference; a constant is part of the offsets."""
    left, right = call["input"], call["other"]
    sign = (-1.0 if call.key == "sub" else 1.0) * call["alpha"]
    if isinstance(left, LocalMap) and isinstance(right, LocalMap):
        return summed(left, right, sign)
    first = isinstance(left, LocalMap)
    value, constant, factor = (left, right, 1.0) if first else (right, left, sign)
    resizable = value.resizable and not _varies_over_positions(constant, value.dims)
    return replace(value, kernels=value.kernels * factor, resizable=resizable)


def product(call: MapCall) -> LocalMap | None:
    """Multiplication by a number, or by one constant a channel."""
    left, right = call["input"], call["other"]
    value, factor = (left, right) if isinstance(left, LocalMap) else (right, left)
    return _multiplied(value, factor)


def quotient(call: MapCall) -> LocalMap | None:
    """Division by a number, or by one constant a channel."""
    value, divisor = call["input"], call["other"]
    if call["rounding_mode"] is not None:
        return None
    like = value.kernels  # the division is done in its precision
    return _multiplied(value, 1 / torch.as_tensor(divisor, dtype=like.dtype, device=like.device))


def _multiplied(value: LocalMap, factor: Any) -> LocalMap | None:
    if _varies_over_positions(factor, value.dims):
        return None
    like = value.kernels
    return scaled(value, torch.as_tensor(factor, dtype=like.dtype, device=like.device))


def _varies_over_positions(constant: Any, dims: int) -> bool:
    """Whether a constant differs from position to position (or is no constant of a rule's kind)."""
    if not isinstance(constant, Tensor):
        return False
    return any(size > 1 for size in constant.shape[-dims:])


def negation(call: MapCall) -> LocalMap | None:
    """Multiplication by -1."""
    return _multiplied(call["input"], -1.0)


def batch_norm(call: MapCall) -> LocalMap | None:
    """Batch norm in evaluation mode: its scale; the rest is part of the offsets."""
    module = call.module
    scale = torch.rsqrt(module.running_var + module.eps)
    return scaled(call["input"], scale if module.weight is None else module.weight * scale)


def input_transform(call: MapCall) -> LocalMap | None:
    """Division by each channel's standard deviation; the mean is part of the offsets."""
    return _multiplied(call["input"], 1 / call.module.std.view(-1, *(1,) * call["input"].dims))


def concatenation(call: MapCall) -> LocalMap | None:
    """Concatenation of channels."""
    values, axis = call["tensors"], call["dim"]
    if not all(isinstance(value, LocalMap) for value in values):
        return None
    return concatenated(values) if axis in (1, -1 - values[0].dims) else None


def channel_shuffle(call: MapCall) -> LocalMap | None:
    """The channels of all groups in turn."""
    value: LocalMap = call["input"]
    by_group = value.kernels.unflatten(0, (call["groups"], -1))
    return replace(value, kernels=by_group.transpose(0, 1).flatten(0, 1))


def identity(call: MapCall) -> LocalMap | None:
    """Dropout in evaluation mode, identity, changes of type or memory."""
    return call["input"]


RULES: dict[str, Rule] = {
    "convolution": convolution,
    "average pool": pooling,
    "pad": padding,
    "getitem": index,
    **dict.fromkeys(("add", "sub"), addition),
    "mul": product,
    "div": quotient,
    "neg": negation,
    "batch norm": batch_norm,
    "input transform": input_transform,
    "cat": concatenation,
    "channel shuffle": channel_shuffle,
    **dict.fromkeys(UNCHANGED, identity),
}
"""Key of `conversion.normal_form` -> rule."""
