"""ONNX operations without weights -> layers and functions of PyTorch.

Names and options are those of ONNX's operator set 21. A rule gives the node that stands for an
operation, or a tuple of nodes where it has several outputs.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from dualview.conversion.onnx_files.calls import OnnxCall, OnnxRule, Sizes, scalar_of


def _function(target: Callable[..., Any]) -> OnnxRule:
    """All inputs, in their order."""
    return lambda call: call.function(target, *map(call.operand, range(len(call.inputs))))


def _layer(make: Callable[..., nn.Module], **options: tuple[str, Any]) -> OnnxRule:
    """A layer; of each of its options the name that ONNX has for it, and the default."""

    def rule(call: OnnxCall) -> fx.Node:
        given = {own: call.options.get(name, value) for own, (name, value) in options.items()}
        return call.layer(make(**given))

    return rule


def _folding(join: Callable[[OnnxCall, Any, Any], Any]) -> OnnxRule:
    """A function of two, over any number of inputs."""

    def rule(call: OnnxCall) -> Any:
        value = call.x
        for index in range(1, len(call.inputs)):
            value = join(call, value, call.operand(index))
        return value

    return rule


_sum_of_inputs = _folding(lambda call, left, right: call.function(operator.add, left, right))


def _mean_of_inputs(call: OnnxCall) -> fx.Node:
    return call.function(operator.truediv, _sum_of_inputs(call), len(call.inputs))


def _bounded(name: str, both: Callable[..., Any]) -> OnnxRule:
    """The larger or the smaller one; a clip from one side where one is a number."""

    def of_two(call: OnnxCall, left: Any, right: Any) -> fx.Node:
        for value, bound in ((left, right), (right, left)):
            if not isinstance(bound, fx.Node):
                return call.function(torch.clamp, value, **{name: bound})
        return call.function(both, left, right)

    return _folding(of_two)


def _clip(call: OnnxCall) -> fx.Node:
    low, high = (scalar_of(call.constant(k)) if call.given(k) else None for k in (1, 2))
    if (low, high) == (0, 6):
        return call.layer(nn.ReLU6())
    if low == 0 and high is None:
        return call.layer(nn.ReLU())
    return call.function(torch.clamp, call.x, low, high)


def _hard_sigmoid(call: OnnxCall) -> fx.Node:
    slope, shift = call.options.get("alpha", 0.2), call.options.get("beta", 0.5)
    if math.isclose(slope, 1 / 6, rel_tol=1e-6) and shift == 0.5:
        return call.layer(nn.Hardsigmoid())
    line = call.function(operator.add, call.function(operator.mul, call.x, slope), shift)
    return call.function(torch.clamp, line, 0.0, 1.0)


def _selu(call: OnnxCall) -> fx.Node:
    own = (1.67326319217681884765625, 1.05070102214813232421875)
    if (call.options.get("alpha", own[0]), call.options.get("gamma", own[1])) != own:
        raise call.refused("its numbers are not those of the paper")
    return call.layer(nn.SELU())


def _softmax(make: Callable[[int], nn.Module]) -> OnnxRule:
    return lambda call: call.layer(make(call.axis(-1)))


def _cast(call: OnnxCall) -> Any:
    return call.function("to", call.x, _TYPES[call.options["to"]])


_TYPES = {
    1: torch.float32,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}
"""ONNX's numbers of types."""


def _reduced(target: Callable[..., Any], **options: Any) -> OnnxRule:
    def rule(call: OnnxCall) -> Any:
        axes = call.numbers(1, call.options.get("axes"))
        if not axes:
            if call.options.get("noop_with_empty_axes"):
                return call.x
            axes = list(range(call.rank()))
        keep = bool(call.options.get("keepdims", 1))
        return call.function(target, call.x, dim=axes, keepdim=keep, **options)

    return rule


def _product(x: Tensor, dim: Sequence[int], keepdim: bool) -> Tensor:
    for axis in sorted((axis % x.dim() for axis in dim), reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


def _sum_of_squares(call: OnnxCall) -> Any:
    square = call.function(torch.square, call.x)
    axes = call.numbers(1, list(range(call.rank())))
    return call.function(torch.sum, square, dim=axes, keepdim=bool(call.options.get("keepdims", 1)))


def _reshape(call: OnnxCall) -> Any:
    entries = list(call.sizes(1))
    for axis, entry in enumerate(entries):
        if entry == 0 and not call.options.get("allowzero", 0):
            entries[axis] = call.function("size", call.x, axis)
    if call.builder.examples is not None and _keeps_examples(call, entries):
        entries[0] = call.function("size", call.x, 0)
    return call.function("reshape", call.x, *entries)


def _keeps_examples(call: OnnxCall, entries: list[Any]) -> bool:
    """Whether the first size is the number of examples that the file was written for."""
    dims = call.dims[0]
    if not entries or not dims:
        return False
    return bool(entries[0] == call.builder.examples) and dims[0] is None


def _flatten(call: OnnxCall) -> Any:
    axis = call.axis(1)
    if axis == 1:
        return call.layer(nn.Flatten())
    if axis == 0:
        return call.function("reshape", call.x, 1, -1)
    last = call.function(torch.flatten, call.x, axis) if axis < call.rank() else call.x
    return call.function(torch.flatten, last, 0, axis - 1)


def _transpose(call: OnnxCall) -> Any:
    order = call.options.get("perm") or list(range(call.rank()))[::-1]
    return call.function(torch.permute, call.x, tuple(order))


def _squeeze(call: OnnxCall) -> Any:
    axes = call.numbers(1)
    if axes is None:
        raise call.refused("which axes it takes away depends on the number of examples")
    return call.function(torch.squeeze, call.x, tuple(axes))


def _unsqueeze(call: OnnxCall) -> Any:
    rank, value = call.rank() + len(call.numbers(1)), call.x
    for axis in sorted(axis % rank for axis in call.numbers(1)):
        value = call.function(torch.unsqueeze, value, axis)
    return value


def _concat(call: OnnxCall) -> Any:
    parts = [_as_tensor(call, index) for index in range(len(call.inputs))]
    return call.function(torch.cat, parts, call.options["axis"])


def _as_tensor(call: OnnxCall, index: int) -> Any:
    """An input that must be a tensor, be it of one number."""
    return call.builder.operand(call.inputs[index], rank=-1)


def _split(call: OnnxCall) -> Any:
    axis = call.axis(0)
    parts = call.numbers(1)
    if parts is None:
        dims, number = call.dims[0], call.options.get("num_outputs", call.outputs)
        size = dims[axis] if dims else None
        if size is None:
            raise call.refused("the size that it splits cannot be inferred from the file")
        parts = -(-size // number)
    value = call.function(torch.split, call.x, parts, axis)
    return tuple(call.function(operator.getitem, value, k) for k in range(call.outputs))


def _slice(call: OnnxCall) -> Any:
    starts, ends = call.numbers(1), call.numbers(2)
    axes = call.numbers(3, list(range(len(starts))))
    steps = call.numbers(4, [1] * len(starts))
    keys = [slice(None)] * call.rank()
    value = call.x
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 0:
            whole = step == -1 and start == -1 and end <= -(2**31) + 1
            if not whole:
                raise call.refused("it runs backwards over a part of an axis")
            value = call.function(torch.flip, value, (axis,))
            continue
        keys[axis] = slice(start or None, None if end >= 2**31 - 1 else end, step)
    if all(key == slice(None) or key == slice(None, None, 1) for key in keys):
        return value
    return call.function(operator.getitem, value, tuple(keys))


def _gather(call: OnnxCall) -> Any:
    axis = call.axis(0)
    table, index = call.inputs[:2]
    if isinstance(table, Tensor) and isinstance(index, fx.Node) and axis == 0:
        if table.dim() != 2:
            raise call.refused("it looks up values in a table that is no matrix")
        weight = call.parameter(0)
        if not isinstance(weight, nn.Parameter):
            raise call.refused("it looks up whole numbers, which no layer does")
        rows, width = table.shape
        embedding = nn.Embedding(rows, width, device="meta")
        embedding.weight = weight
        return call.layer(embedding, index)
    found = call.constant(1)
    if found.dim() == 0:
        keys = (slice(None),) * axis + (int(found),)
        return call.function(operator.getitem, call.x, keys)
    if found.dim() == 1:
        size = call.dims[0][axis] if call.dims[0] else None
        if bool((found < 0).any()):
            if size is None:
                raise call.refused("it counts from the end of an axis of unknown size")
            found = found % size
        return call.function(torch.index_select, call.x, axis, call.builder.operand(found, -1))
    raise call.refused("it gathers by a table of places")


def _expand(call: OnnxCall) -> Any:
    entries: list[Any] = [-1 if entry == 1 else entry for entry in call.sizes(1)]
    rank = call.rank()
    if len(entries) < rank:
        entries = [-1] * (rank - len(entries)) + entries
    missing = len(entries) - rank
    entries[:missing] = [1 if entry == -1 else entry for entry in entries[:missing]]
    return call.function("expand", _as_tensor(call, 0), *entries)


def _pad(call: OnnxCall) -> Any:
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}[
        call.options.get("mode", "constant")
    ]
    rank = call.rank()
    axes = [axis % rank for axis in call.numbers(3, list(range(rank)))]
    given = call.numbers(1)
    widths = {axis: (given[k], given[k + len(axes)]) for k, axis in enumerate(axes)}
    pairs = [widths.get(axis, (0, 0)) for axis in range(rank)]
    while pairs and pairs[0] == (0, 0):
        pairs.pop(0)
    if len(pairs) == rank:
        raise call.refused("it pads the axis of examples")
    if mode != "constant":
        pairs = [(0, 0)] * (max(rank - 2, 1) - len(pairs)) + pairs
    flat = [width for pair in reversed(pairs) for width in pair]
    if not any(flat):
        return call.x
    if mode != "constant":
        return call.function(F.pad, call.x, flat, mode)
    value = scalar_of(call.constant(2)) if call.given(2) else 0
    return call.function(F.pad, call.x, flat, "constant", value)


def _resize(call: OnnxCall) -> Any:
    mode = call.options.get("mode", "nearest")
    how = call.options.get("coordinate_transformation_mode", "half_pixel")
    if (
        call.options.get("antialias")
        or call.options.get("axes")
        or call.options.get("exclude_outside")
    ):
        raise call.refused("it resizes with antialiasing, along named axes or without the outside")
    options: dict[str, Any] = _new_size(call)
    if mode == "nearest":
        _check_nearest(call, how, options)
        return call.function(F.interpolate, call.x, **options, mode="nearest")
    if how not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        raise call.refused(f"PyTorch does not interpolate by {how!r}")
    if mode == "cubic" and call.options.get("cubic_coeff_a", -0.75) != -0.75:
        raise call.refused("PyTorch's cubic interpolation has another coefficient")
    names = {"linear": {3: "linear", 4: "bilinear", 5: "trilinear"}, "cubic": {4: "bicubic"}}
    name = names[mode].get(call.rank())
    if name is None:
        raise call.refused(f"PyTorch does not interpolate {call.rank()} axes so")
    align = how == "align_corners"
    return call.function(F.interpolate, call.x, **options, mode=name, align_corners=align)


def _new_size(call: OnnxCall) -> dict[str, Any]:
    """Sizes or factors of the axes after the first two."""
    if call.given(2) and not (isinstance(call.inputs[2], Tensor) and not call.inputs[2].numel()):
        factors = call.constant(2).double().tolist()
        if factors[:2] != [1, 1]:
            raise call.refused("it resizes channels")
        return {"scale_factor": factors[2:]}
    entries = call.sizes(3)
    if any(isinstance(entry, fx.Node) for entry in entries[2:]):
        raise call.refused("its new size is computed from the network's input")
    return {"size": list(entries[2:])}


def _check_nearest(call: OnnxCall, how: str, options: dict[str, Any]) -> None:
    """PyTorch takes the entry below; others give the same one at whole factors alone."""
    if how == "asymmetric" and call.options.get("nearest_mode") == "floor":
        return
    factors = options.get("scale_factor", ())
    below = call.options.get("nearest_mode", "round_prefer_floor") == "round_prefer_floor"
    if not (how == "half_pixel" and below and factors and all(f == int(f) for f in factors)):
        raise call.refused("it chooses the nearest entry otherwise than PyTorch does")


def _depth_to_space(call: OnnxCall) -> Any:
    size = call.options["blocksize"]
    if call.options.get("mode", "DCR") == "CRD":
        return call.layer(nn.PixelShuffle(size))
    return call.function(_blocks_first, call.x, size)


def _blocks_first(x: Tensor, size: int) -> Tensor:
    """(n, size * size * c, h, w) -> (n, c, h * size, w * size), the place in a block first."""
    blocks = x.unflatten(1, (size * size, -1)).transpose(1, 2).flatten(1, 2)
    return F.pixel_shuffle(blocks, size)


def _einsum(call: OnnxCall) -> Any:
    operands = [_as_tensor(call, index) for index in range(len(call.inputs))]
    return call.function(torch.einsum, call.options["equation"], *operands)


def _constant_of_shape(call: OnnxCall) -> Any:
    """A constant of one number, stretched over the examples."""
    entries = call.sizes(0)
    value = call.options.get("value", torch.zeros(1))
    one = value.reshape((1,) * len(entries))
    return call.function("expand", call.builder.operand(one, -1), *entries)


def _where(call: OnnxCall) -> Any:
    return call.function(torch.where, *(_as_tensor(call, k) for k in range(3)))


def _range(call: OnnxCall) -> Any:
    if isinstance(call.inputs[1], Sizes) and call.inputs[1].scalar:
        return call.function(torch.arange, *map(call.operand, range(3)))
    raise call.refused("it counts to a number that is computed from the network's input")


OPERATIONS: dict[str, OnnxRule] = {
    # activations
    "Celu": _layer(nn.CELU, alpha=("alpha", 1.0)),
    "Clip": _clip,
    "Elu": _layer(nn.ELU, alpha=("alpha", 1.0)),
    "Gelu": _layer(nn.GELU, approximate=("approximate", "none")),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _layer(nn.Hardswish),
    "LeakyRelu": _layer(nn.LeakyReLU, negative_slope=("alpha", 0.01)),
    "LogSoftmax": _softmax(nn.LogSoftmax),
    "Mish": _layer(nn.Mish),
    "Relu": _layer(nn.ReLU),
    "Selu": _selu,
    "Sigmoid": _layer(nn.Sigmoid),
    "Softmax": _softmax(nn.Softmax),
    "Softplus": _layer(nn.Softplus),
    "Softsign": _layer(nn.Softsign),
    "Tanh": _layer(nn.Tanh),
    "ThresholdedRelu": lambda call: call.layer(nn.Threshold(call.options.get("alpha", 1.0), 0.0)),
    # entry by entry
    "Abs": _function(torch.abs),
    "Add": _function(operator.add),
    "Atan": _function(torch.atan),
    "Cos": _function(torch.cos),
    "Cosh": _function(torch.cosh),
    "Div": _function(operator.truediv),
    "Erf": _function(torch.erf),
    "Exp": _function(torch.exp),
    "Log": _function(torch.log),
    "Max": _bounded("min", torch.maximum),
    "Mean": _mean_of_inputs,
    "Min": _bounded("max", torch.minimum),
    "Mul": _function(operator.mul),
    "Neg": _function(operator.neg),
    "Pow": _function(torch.pow),
    "Reciprocal": _function(torch.reciprocal),
    "Sin": _function(torch.sin),
    "Sinh": _function(torch.sinh),
    "Sqrt": _function(torch.sqrt),
    "Sub": _function(operator.sub),
    "Sum": _sum_of_inputs,
    "Tan": _function(torch.tan),
    "Where": _where,
    # over axes
    "ReduceL1": _reduced(torch.linalg.vector_norm, ord=1),
    "ReduceL2": _reduced(torch.linalg.vector_norm, ord=2),
    "ReduceLogSumExp": _reduced(torch.logsumexp),
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "ReduceMin": _reduced(torch.amin),
    "ReduceProd": _reduced(_product),
    "ReduceSum": _reduced(torch.sum),
    "ReduceSumSquare": _sum_of_squares,
    "Einsum": _einsum,
    # moves
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Dropout": lambda call: call.x,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Identity": lambda call: call.x,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": lambda call: call.function(_spaces_first, call.x, call.options["blocksize"]),
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": lambda call: call.function("repeat", call.x, *call.numbers(1)),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}


def _spaces_first(x: Tensor, size: int) -> Tensor:
    """(n, c, h * size, w * size) -> (n, size * size * c, h, w), the place in a block first."""
    blocks = F.pixel_unshuffle(x, size)
    return blocks.unflatten(1, (-1, size * size)).transpose(1, 2).flatten(1, 2)
