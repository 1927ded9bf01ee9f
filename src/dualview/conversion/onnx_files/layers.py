"""ONNX operations that read weights, and pools -> layers of PyTorch.

Weights are those of the file themselves: what two operations share stays shared.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from dualview.conversion.layer_tensors import batch_norm, give_tensor
from dualview.conversion.onnx_files.calls import OnnxCall, OnnxRule

Pads = tuple[list[int], list[int]]


def _with(layer: nn.Module, **tensors: Tensor | None) -> nn.Module:
    for name, tensor in tensors.items():
        if tensor is not None:
            give_tensor(layer, name, tensor)
    return layer


def _each(call: OnnxCall, name: str, dims: int) -> tuple[int, ...]:
    return tuple(call.options.get(name) or (1,) * dims)


def _pads(call: OnnxCall, window: tuple[int, ...]) -> Pads:
    """Widths before and after, for each axis of positions."""
    dims, how = len(window), call.options.get("auto_pad", "NOTSET")
    if how == "VALID":
        return [0] * dims, [0] * dims
    if how == "NOTSET":
        pads = list(call.options.get("pads") or [0] * 2 * dims)
        return pads[:dims], pads[dims:]
    sizes = call.dims[0][2:] if call.dims[0] else ()
    if not sizes or None in sizes:
        raise call.refused("its padding follows from a size that is not in the file")
    stride, dilation = _each(call, "strides", dims), _each(call, "dilations", dims)
    before, after = [], []
    for size, width, step, gap in zip(sizes, window, stride, dilation, strict=True):
        assert size is not None
        whole = max((-(-size // step) - 1) * step + gap * (width - 1) + 1 - size, 0)
        small, large = whole // 2, whole - whole // 2
        before.append(small if how == "SAME_UPPER" else large)
        after.append(large if how == "SAME_UPPER" else small)
    return before, after


def _padded(call: OnnxCall, pads: Pads, value: float = 0.0) -> fx.Node:
    """The input with a border, where no layer pads so by itself."""
    flat = [width for pair in reversed(list(zip(*pads, strict=True))) for width in pair]
    return call.function(F.pad, call.x, flat, "constant", value)


def _windowed(call: OnnxCall, kind: Any, channels: tuple[int, int], **options: Any) -> nn.Module:
    """A convolution of either direction, with what both are told."""
    weight, bias = call.parameter(1), call.parameter(2)
    assert weight is not None
    window = tuple(weight.shape[2:])
    layer = kind(
        *channels,
        window,
        stride=_each(call, "strides", len(window)),
        dilation=_each(call, "dilations", len(window)),
        groups=call.options.get("group", 1),
        bias=bias is not None,
        device="meta",
        **options,
    )
    return _with(layer, weight=weight, bias=bias)


def _convolution(call: OnnxCall) -> Any:
    outputs, inputs, *window = call.constant(1).shape
    pads = _pads(call, tuple(window))
    even = pads[0] == pads[1]
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(window) - 1]
    channels = (inputs * call.options.get("group", 1), outputs)
    layer = _windowed(call, kind, channels, padding=tuple(pads[0]) if even else 0)
    return call.layer(layer, call.x if even else _padded(call, pads))


def _transposed_convolution(call: OnnxCall) -> Any:
    inputs, outputs, *window = call.constant(1).shape
    dims = len(window)
    if call.options.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise call.refused("its padding follows from the size of its output")
    if call.options.get("output_shape"):
        raise call.refused("it is told the size of its output")
    before, after = _pads(call, tuple(window))
    extra = list(call.options.get("output_padding") or [0] * dims)
    extra = [e + b - a for e, b, a in zip(extra, before, after, strict=True)]
    if min(extra) < 0:
        raise call.refused("it cuts off more after than before")
    kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 1]
    channels, padding = (inputs, outputs * call.options.get("group", 1)), tuple(before)
    options = {"padding": padding, "output_padding": tuple(extra)}
    return call.layer(_windowed(call, kind, channels, **options))


def _dense(call: OnnxCall) -> Any:
    """`alpha A B + beta C`: a layer where B and C are weights."""
    alpha, beta = call.options.get("alpha", 1.0), call.options.get("beta", 1.0)
    second: Any = call.inputs[1]
    third: Any = call.inputs[2] if call.given(2) else None
    fits = third is None or (isinstance(third, Tensor) and third.squeeze().dim() < 2)
    if isinstance(second, Tensor) and fits and not call.options.get("transA"):
        turned = bool(call.options.get("transB"))
        weight = call.parameter(1)
        if not turned or alpha != 1:
            weight = nn.Parameter(alpha * (second if turned else second.mT))
        assert weight is not None
        outputs = len(weight)
        bias = call.parameter(2)
        if third is not None and (beta != 1 or third.shape != (outputs,)):
            bias = nn.Parameter(beta * third.reshape(-1).expand(outputs).clone())
        return call.layer(_linear(weight, bias))
    left, right = call.x, call.builder.operand(second, -1)
    left = call.function(torch.t, left) if call.options.get("transA") else left
    right = call.function(torch.t, right) if call.options.get("transB") else right
    value = call.function(torch.matmul, left, right)
    value = value if alpha == 1 else call.function(operator.mul, value, alpha)
    if third is None:
        return value
    added = call.builder.operand(third, -1)
    added = added if beta == 1 else call.function(operator.mul, added, beta)
    return call.function(operator.add, value, added)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    outputs, inputs = weight.shape
    layer = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
    return _with(layer, weight=weight, bias=bias)


def _matrix_product(call: OnnxCall) -> Any:
    weight = call.inputs[1]
    if isinstance(weight, Tensor) and weight.dim() == 2 and weight.is_floating_point():
        return call.layer(_linear(nn.Parameter(weight.mT.contiguous()), None))
    left, right = (call.builder.operand(call.inputs[k], -1) for k in (0, 1))
    return call.function(torch.matmul, left, right)


def _batch_norm(call: OnnxCall) -> Any:
    if call.options.get("training_mode"):
        raise call.refused("it takes its statistics from the examples", "export in evaluation mode")
    names = ("weight", "bias", "running_mean", "running_var")
    tensors: dict[str, Any] = {name: call.parameter(k + 1) for k, name in enumerate(names)}
    for name in names[2:]:
        tensors[name] = tensors[name].detach()
    eps = call.options.get("epsilon", 1e-5)
    momentum = 1 - call.options.get("momentum", 0.9)
    return call.layer(batch_norm(call.rank(), eps, momentum, tensors))


def _instance_norm(call: OnnxCall) -> Any:
    weight, bias = call.parameter(1), call.parameter(2)
    assert weight is not None
    kinds: Any = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}
    kind = kinds[call.rank()]
    layer = kind(len(weight), call.options.get("epsilon", 1e-5), affine=True, device="meta")
    return call.layer(_with(layer, weight=weight, bias=bias))


def _layer_norm(call: OnnxCall) -> Any:
    weight, bias = call.parameter(1), call.parameter(2)
    axis, rank = call.axis(-1), call.rank()
    assert weight is not None
    if weight.dim() != rank - axis:
        raise call.refused("its scale is not of the shape that it normalises")
    shape, eps = tuple(weight.shape), call.options.get("epsilon", 1e-5)
    layer = nn.LayerNorm(shape, eps, bias=bias is not None, device="meta")
    return call.layer(_with(layer, weight=weight, bias=bias))


def _group_norm(call: OnnxCall) -> Any:
    weight, bias = call.parameter(1), call.parameter(2)
    assert weight is not None
    groups, eps = call.options["num_groups"], call.options.get("epsilon", 1e-5)
    layer = nn.GroupNorm(groups, len(weight), eps, device="meta")
    return call.layer(_with(layer, weight=weight, bias=bias))


def _prelu(call: OnnxCall) -> Any:
    slope = call.constant(1)
    channels = slope.numel()
    axes = [size for size in slope.shape if size != 1]
    at = call.rank() - slope.dim() + next((k for k, s in enumerate(slope.shape) if s != 1), 0)
    if len(axes) > 1 or (axes and at != 1):
        raise call.refused("its slopes are not one for each channel")
    layer = nn.PReLU(channels, device="meta")
    weight = call.parameter(1)
    assert weight is not None
    return call.layer(_with(layer, weight=nn.Parameter(weight.detach().reshape(-1))))


def _local_response_norm(call: OnnxCall) -> Any:
    names = (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    alpha, beta, bias = (call.options.get(name, default) for name, default in names)
    size = call.options["size"]
    if size % 2 == 0:
        raise call.refused("PyTorch divides even windows otherwise")
    return call.layer(nn.LocalResponseNorm(size, alpha, beta, bias))


def _pools_pad(pads: Pads, window: tuple[int, ...]) -> bool:
    """Whether PyTorch's pools pad so by themselves."""
    return pads[0] == pads[1] and all(2 * p <= w for p, w in zip(pads[0], window, strict=True))


def _max_pool(call: OnnxCall) -> Any:
    window = tuple(call.options["kernel_shape"])
    dims = len(window)
    pads = _pads(call, window)
    even = _pools_pad(pads, window)
    if call.outputs > 1:
        raise call.refused("its places are used, too, and unpooling by them is no affine operation")
    rounded = not even and _rounds_up(call, window, pads)
    even = even or rounded
    kind: Any = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[dims - 1]
    layer = kind(
        window,
        _each(call, "strides", dims),
        tuple(pads[0]) if even else 0,
        _each(call, "dilations", dims),
        ceil_mode=rounded or bool(call.options.get("ceil_mode", 0)),
    )
    return call.layer(layer, call.x if even else _padded(call, pads, -math.inf))


def _rounds_up(call: OnnxCall, window: tuple[int, ...], pads: Pads) -> bool:
    """Whether a border that is wider behind only makes room for the last window.

    A pool that rounds the number of its windows up does the same without the wider border.
    """
    sizes = call.dims[0][2:] if call.dims[0] else ()
    strides, gaps = _each(call, "strides", len(window)), _each(call, "dilations", len(window))
    if len(sizes) != len(window) or call.options.get("ceil_mode"):
        return False
    for size, width, step, gap, *pad in zip(sizes, window, strides, gaps, *pads, strict=True):
        before, after = pad
        if size is None or after < before or 2 * before > width:
            return False
        room = size + 2 * before - gap * (width - 1) - 1
        if -(-room // step) != (room + after - before) // step:
            return False
    return True


def _average_pool(call: OnnxCall) -> Any:
    window = tuple(call.options["kernel_shape"])
    dims = len(window)
    pads = _pads(call, window)
    counted = bool(call.options.get("count_include_pad", 0))
    even = _pools_pad(pads, window)
    if set(_each(call, "dilations", dims)) != {1}:
        raise call.refused("PyTorch's average pools have no gaps")
    if not even and not counted:
        raise call.refused("it leaves a border that is wider on one side out of its averages")
    kind: Any = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[dims - 1]
    layer = kind(
        window,
        _each(call, "strides", dims),
        tuple(pads[0]) if even else 0,
        ceil_mode=bool(call.options.get("ceil_mode", 0)),
        count_include_pad=counted,
    )
    return call.layer(layer, call.x if even else _padded(call, pads))


def _whole_map(kinds: tuple[Any, ...]) -> OnnxRule:
    return lambda call: call.layer(kinds[call.rank() - 3](1))


LAYERS: dict[str, OnnxRule] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "Gemm": _dense,
    "GlobalAveragePool": _whole_map(
        (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
    ),
    "GlobalMaxPool": _whole_map((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)),
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _local_response_norm,
    "LayerNormalization": _layer_norm,
    "MatMul": _matrix_product,
    "MaxPool": _max_pool,
    "PRelu": _prelu,
}
