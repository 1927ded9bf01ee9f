"""One rule per operation of a DLGN's gating network: what it does to the kernels of its values.

Every rule takes a `Call` and returns the result's `LocalMap`, or None where no position sees one
kernel or the operation has no closed form; filters then come by automatic differentiation. `RULES`
is the table: module type, function or method name -> rule. An operation that is not in it has none.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dualview.conversion.input_transform import InputTransform
from dualview.conversion.operations import BATCH_NORM_MODULES, CONVOLUTION_MODULES, DROPOUT_MODULES
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

Sizes = int | Sequence[int]


@dataclass(frozen=True)
class Call:
    """One call: arguments (a `LocalMap` for a value that depends on the input), and its result.

    Attributes:
        target: the function, or the method's name; None for a module.
        module: the module that is called, if any.
        sizes: the result's positions.
    """

    target: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    module: Any
    sizes: tuple[int, ...]


Rule = Callable[[Call], LocalMap | None]


# Convolutions and pools


def convolution_module(call: Call) -> LocalMap | None:
    """`nn.Conv1d`, `nn.Conv2d`, `nn.Conv3d`."""
    module = call.module
    padding = _pairs(module._reversed_padding_repeated_twice)
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    windows = [
        Window(taps, stride, dilation, before, after, mode)
        for taps, stride, dilation, (before, after) in zip(
            module.kernel_size, module.stride, module.dilation, padding, strict=True
        )
    ]
    return convolved(call.args[0], module.weight, module.groups, windows, call.sizes)


def convolution_function(call: Call) -> LocalMap | None:
    """`F.conv1d`, `F.conv2d`, `F.conv3d` with constant weights."""

    def convolve(
        value: Any,
        weight: Any,
        bias: Any = None,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
    ) -> LocalMap | None:
        if not (isinstance(value, LocalMap) and isinstance(weight, Tensor)):
            return None
        windows = [
            Window(taps, step, spread, *_margins(pad, (taps - 1) * spread))
            for taps, step, spread, pad in zip(
                weight.shape[2:],
                *(_each(option, weight.dim() - 2) for option in (stride, dilation, padding)),
                strict=True,
            )
        ]
        return convolved(value, weight, groups, windows, call.sizes)

    return convolve(*call.args, **call.kwargs)


def _margins(padding: int | str, reach: int) -> tuple[int, int]:
    """Positions padded before and after, for a window whose taps lie `reach` apart."""
    if isinstance(padding, str):
        return (reach // 2, reach - reach // 2) if padding == "same" else (0, 0)
    return padding, padding


def pooling_module(call: Call) -> LocalMap | None:
    """`nn.AvgPool1d`, `nn.AvgPool2d`, `nn.AvgPool3d`."""
    module = call.module
    if call.args[0].dims != _POOLS[type(module)]:  # an image without an axis of examples
        return None
    divisor = getattr(module, "divisor_override", None)
    return _average(call, module.kernel_size, module.stride, module.padding, divisor)


def pooling_function(call: Call) -> LocalMap | None:
    """`F.avg_pool1d`, `F.avg_pool2d`, `F.avg_pool3d`."""

    def pool(
        value: LocalMap,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> LocalMap | None:
        if value.dims != _POOLS[call.target]:
            return None
        return _average(call, kernel_size, stride or kernel_size, padding, divisor_override)

    return pool(*call.args, **call.kwargs)


def _average(
    call: Call, kernel_size: Sizes, stride: Sizes, padding: Sizes, divisor: int | None
) -> LocalMap | None:
    """How windows over the border are divided (and ceil mode) matters outside the interior only."""
    value: LocalMap = call.args[0]
    options = (_each(option, value.dims) for option in (kernel_size, stride, padding))
    windows = [Window(taps, step, 1, pad, pad) for taps, step, pad in zip(*options, strict=True)]
    count = 1
    for window in windows:
        count *= window.taps
    return pooled(value, 1 / (divisor or count), windows, call.sizes)


def _each(option: Any, dims: int) -> tuple[Any, ...]:
    """An option given once, or once for each position axis."""
    values = tuple(option) if isinstance(option, Sequence) and not isinstance(option, str) else ()
    return values * dims if len(values) == 1 else values or (option,) * dims


def _pairs(padding: Sequence[int]) -> list[tuple[int, int]]:
    """Padding as `F.pad` takes it, last axis first -> (before, after) of each axis, in order."""
    return list(zip(padding[::2], padding[1::2], strict=True))[::-1]


# Padding and slices


def padding_module(call: Call) -> LocalMap | None:
    """Padding modules; what a constant other than 0 adds is in the offsets."""
    mode = next(mode for kind, mode in _PADDING_MODES.items() if isinstance(call.module, kind))
    return _pad(call, call.module.padding, mode)


def padding_function(call: Call) -> LocalMap | None:
    """`F.pad` of positions, and of channels with constants."""

    def pad(value: Any, pad: Any, mode: str = "constant", fill: Any = None) -> LocalMap | None:
        return _pad(call, pad, mode)

    options = dict(call.kwargs)
    options.pop("value", None)
    return pad(*call.args, **options)


def _pad(call: Call, padding: Sequence[int], mode: str) -> LocalMap | None:
    value: LocalMap = call.args[0]
    pairs = _pairs(padding)
    pairs = [(0, 0)] * (value.dims - len(pairs)) + pairs
    channels = pairs[: -value.dims]
    if any(any(pair) for pair in channels[:-1]) or (channels and mode != "constant"):
        return None  # padding examples, or channels by copies
    windows = [
        Window(before=before, after=after, mode=mode) for before, after in pairs[-value.dims :]
    ]
    result = moved(value, windows, call.sizes)
    if result is None or not channels:
        return result
    margin = (0, 0) * (value.dims + 1) + channels[-1]
    return replace(result, kernels=F.pad(result.kernels, margin))


def index(call: Call) -> LocalMap | None:
    """`x[:, channels, rows, columns]` by slices, positions from the left border on."""
    value: LocalMap = call.args[0]
    key = call.args[1]
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
    if result is None:
        return None
    kernels = result.kernels[keys[1]]
    return replace(result, kernels=kernels, resizable=result.resizable and resizable)


# Sums, factors, and what changes nothing


def addition(call: Call) -> LocalMap | None:
    """Sum or difference; a constant is part of the offsets."""
    left, right = _operands(call)
    sign = -1.0 if call.target in (operator.sub, torch.sub, "sub") else 1.0
    sign *= call.kwargs.get("alpha", 1)
    if isinstance(left, LocalMap) and isinstance(right, LocalMap):
        return summed(left, right, sign)
    first = isinstance(left, LocalMap)
    value, constant, factor = (left, right, 1.0) if first else (right, left, sign)
    resizable = value.resizable and not _varies_over_positions(constant, value.dims)
    return replace(value, kernels=value.kernels * factor, resizable=resizable)


def product(call: Call) -> LocalMap | None:
    """Multiplication by a number, or by one constant a channel."""
    left, right = _operands(call)
    value, factor = (left, right) if isinstance(left, LocalMap) else (right, left)
    return _multiplied(value, factor)


def quotient(call: Call) -> LocalMap | None:
    """Division by a number, or by one constant a channel."""
    value, divisor = _operands(call)
    if "rounding_mode" in call.kwargs:
        return None
    like = value.kernels  # the division is done in its precision
    return _multiplied(value, 1 / torch.as_tensor(divisor, dtype=like.dtype, device=like.device))


def _operands(call: Call) -> tuple[Any, ...]:
    return call.args if len(call.args) == 2 else (*call.args, call.kwargs["other"])


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


def negation(call: Call) -> LocalMap | None:
    """Multiplication by -1."""
    return _multiplied(call.args[0], -1.0)


def batch_norm(call: Call) -> LocalMap | None:
    """Batch norm in evaluation mode: its scale; the rest is part of the offsets."""
    module = call.module
    scale = torch.rsqrt(module.running_var + module.eps)
    return scaled(call.args[0], scale if module.weight is None else module.weight * scale)


def input_transform(call: Call) -> LocalMap | None:
    """Division by each channel's standard deviation; the mean is part of the offsets."""
    return _multiplied(call.args[0], 1 / call.module.std.view(-1, *(1,) * call.args[0].dims))


def concatenation(call: Call) -> LocalMap | None:
    """Concatenation of channels."""
    values, axis, *_ = (*call.args, *call.kwargs.values(), 0)
    if not all(isinstance(value, LocalMap) for value in values):
        return None
    return concatenated(values) if axis in (1, -1 - values[0].dims) else None


def identity(call: Call) -> LocalMap | None:
    """Dropout in evaluation mode, identity, changes of type or memory."""
    return call.args[0]


_POOLS: dict[Any, int] = {
    nn.AvgPool1d: 1,
    nn.AvgPool2d: 2,
    nn.AvgPool3d: 3,
    F.avg_pool1d: 1,
    F.avg_pool2d: 2,
    F.avg_pool3d: 3,
}
"""Average pool -> the number of axes that it pools over."""

_PADDING_MODES: dict[tuple[type[nn.Module], ...], str] = {
    (nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d): "constant",
    (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d): "constant",
    (nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d): "circular",
    (nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d): "reflect",
    (nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d): "replicate",
}

_SAME_VALUE = ("contiguous", "clone", "to", "type_as", "float", "double", "half", "bfloat16")

RULES: dict[Any, Rule] = {
    **dict.fromkeys(CONVOLUTION_MODULES, convolution_module),
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d), convolution_function),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), pooling_module),
    **dict.fromkeys((F.avg_pool1d, F.avg_pool2d, F.avg_pool3d), pooling_function),
    **dict.fromkeys((kind for kinds in _PADDING_MODES for kind in kinds), padding_module),
    F.pad: padding_function,
    operator.getitem: index,
    **dict.fromkeys((operator.add, torch.add, "add"), addition),
    **dict.fromkeys((operator.sub, torch.sub, "sub"), addition),
    **dict.fromkeys((operator.mul, torch.mul, torch.multiply, "mul", "multiply"), product),
    **dict.fromkeys((operator.truediv, torch.div, "div"), quotient),
    **dict.fromkeys((operator.neg, torch.neg, "neg"), negation),
    **dict.fromkeys(BATCH_NORM_MODULES, batch_norm),
    InputTransform: input_transform,
    **dict.fromkeys((torch.cat, torch.concat), concatenation),
    **dict.fromkeys((nn.Identity, *DROPOUT_MODULES, F.dropout), identity),
    **dict.fromkeys((operator.pos, torch.clone, *_SAME_VALUE, "cpu", "cuda"), identity),
}
"""Module type, function, or method name -> its rule."""
