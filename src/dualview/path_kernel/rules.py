"""One rule per operation of a weights network: what it does to the covariance of its values.

Every rule takes the node, its arguments (a `Value` where the graph has a tensor that depends on the
example, plain Python values and tensors elsewhere) and the `Setting`, and returns the node's value.
`RULES` is the table: module type, function or method name -> rule. Source: theory, section 4.5.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from dualview import operations as ops
from dualview.errors import PathKernelError
from dualview.gates import apply_gate
from dualview.path_kernel.positions import LEADING, apply_map, window_sum
from dualview.path_kernel.terms import (
    Term,
    Value,
    added,
    channel_mean,
    diagonal_mean,
    gated,
    mapped,
    settled,
    with_channels,
    with_groups,
)
from dualview.pooling import replay_switch
from dualview.source_lines import describe, module_of
from dualview.weights_graph import one_row_of_ones, spread_over_batch


@dataclass(frozen=True)
class Pair:
    """A tensor of each side: the first examples' and the second examples' (examples first)."""

    left: Tensor
    right: Tensor


@dataclass(frozen=True)
class Setting:
    """What the weights are drawn from, and what is asked for.

    Attributes:
        variances: weight layer's node name -> variance of its weights; None: 1 / fan-in.
        bias_variance: variance of the biases; None leaves biases out.
        batch_norm_scale: multiply by batch norm's gamma / sqrt(variance + eps)?
        ntk: carry the expected NTK beside the NPK?
    """

    variances: Mapping[str, float] | None = None
    bias_variance: float | None = None
    batch_norm_scale: bool = False
    ntk: bool = False


Arguments = tuple[Any, ...]
Rule = Callable[[fx.Node, Arguments, dict[str, Any], Setting], Any]


def refuse(node: fx.Node, reason: str) -> NoReturn:
    """Raise the error for an operation without an exact rule here."""
    raise PathKernelError(
        f"{describe(node)}: {reason}, so the path kernel has no exact rule for it. Repair: "
        f"estimate the kernel with dualview.npk_features, which works for any graph"
    )


# Weight layers


def fan_in(module: nn.Module) -> int:
    """Number of weights that one output unit of a dense or convolutional layer reads."""
    weight: Any = module.weight
    return math.prod(weight.shape[1:])


def dense(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """A dense layer: channels and the diagonal of the positions are summed."""
    value, module = args[0], module_of(node)
    if not value.flat and math.prod(value.positions) > 1:
        refuse(node, "it is applied at every position of an image")
    kernel, log_scale = _combine(value, lambda term: diagonal_mean(term, value))
    term = _weight_term(node, kernel, log_scale, setting)
    return Value((term,), module.out_features, ())  # type: ignore[arg-type]


def convolution(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """A convolution: channels are summed within groups, and windows over both positions at once."""
    value: Value = args[0]
    module: Any = module_of(node)
    dims = len(module.kernel_size)
    if value.flat or value.dims != dims:
        refuse(node, f"it reads a value with {value.dims} position axes")
    total, log_scale = _combine(value, lambda term: channel_mean(term, value, module.groups))
    padding = list(module._reversed_padding_repeated_twice)
    if any(padding):
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        total = apply_map(total, lambda image: F.pad(image, padding, mode), dims)
    total = window_sum(total, module.kernel_size, module.stride, module.dilation)
    kernel = total / math.prod(module.kernel_size)
    term = _weight_term(node, kernel, log_scale, setting)
    return Value((term,), module.out_channels, tuple(kernel.shape[LEADING : LEADING + dims]))


def _combine(value: Value, reduce: Callable[[Term], Tensor]) -> tuple[Tensor, float]:
    """The sum of all terms, each reduced to a kernel, and its logarithmic scale."""
    scale = max(term.log_scale for term in value.terms)
    parts = [reduce(term) * math.exp(term.log_scale - scale) for term in value.terms]
    total = parts[0]
    for part in parts[1:]:
        if part.shape[0] != total.shape[0]:  # an input term has no NTK yet
            part, total = (p if p.shape[0] == 2 else _with_zero_ntk(p) for p in (part, total))
        total = total + part
    return total, scale


def _with_zero_ntk(kernel: Tensor) -> Tensor:
    return torch.cat([kernel, torch.zeros_like(kernel)])


def _weight_term(node: fx.Node, kernel: Tensor, log_scale: float, setting: Setting) -> Term:
    """The weight layer's term from the mean over its inputs; theory, end of section 4.5."""
    module: Any = module_of(node)
    inputs = fan_in(module)
    variance = 1 / inputs if setting.variances is None else setting.variances[node.name]
    log_scale += math.log(inputs * variance)
    if setting.ntk:
        npk = kernel[:1]
        ntk = npk / variance if len(kernel) == 1 else kernel[1:] + npk / variance
        kernel = torch.cat([npk, ntk])
    if setting.bias_variance is not None and module.bias is not None:
        added_here = [setting.bias_variance, 1.0] if setting.ntk else [setting.bias_variance]
        shift = kernel.new_tensor(added_here) * math.exp(-log_scale)
        kernel = kernel + shift.reshape(-1, *(1,) * (kernel.dim() - 1))
    return Term(kernel, None, None, log_scale, node, frozenset({node}))


# Gates, factors and additions


def gate(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Multiplication by each example's gate."""
    value, pair = args
    return _multiplied(value, pair.left, pair.right)


def _multiplied(value: Value, left: Tensor, right: Tensor) -> Value:
    shape = (value.channels, *value.positions)
    left, right = left.reshape(-1, *shape), right.reshape(-1, *shape)
    return replace(value, terms=tuple(gated(term, value, left, right) for term in value.terms))


def product(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Multiplication by a constant: a number, or a tensor of one entry per channel or position."""
    value, factor = args if isinstance(args[0], Value) else args[::-1]
    return _scaled(node, value, factor)


def quotient(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Division by a constant."""
    return _scaled(node, args[0], 1 / args[1])


def negation(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Multiplication by -1."""
    return _scaled(node, args[0], -1.0)


def _scaled(node: fx.Node, value: Value, factor: Tensor | float) -> Value:
    like = _some_tensor(value)
    tensor = torch.as_tensor(factor, dtype=like.dtype, device=like.device)
    shape = (
        (1, value.channels * math.prod(value.positions))
        if value.flat
        else (
            1,
            value.channels,
            *value.positions,
        )
    )
    constant = tensor.detach().expand(shape)
    return _multiplied(value, constant, constant)


def _some_tensor(value: Value) -> Tensor:
    term = value.terms[0]
    tensor = term.kernel if term.kernel is not None else term.left
    assert tensor is not None
    return tensor


def addition(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """The terms of both branches; a constant is a bias, which the kernel leaves out."""
    left, right = args
    sign = -1.0 if node.target in (operator.sub, torch.sub, "sub") else 1.0
    sign *= kwargs.get("alpha", 1)
    if not (isinstance(left, Value) and isinstance(right, Value)):
        if setting.bias_variance is not None:
            refuse(node, "it adds a constant, whose variance is not given")
        return left if isinstance(left, Value) else right
    if sign != 1:
        right = _scaled(node, right, sign)
    if (left.channels, left.positions) != (right.channels, right.positions):
        refuse(node, "it adds values of different shapes")
    terms = added(left.terms, right.terms)
    if terms is None:
        refuse(node, "both branches end in the same weights, seen through different maps")
    return replace(left, terms=terms)


def batch_norm(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Batch norm in evaluation mode: its scale if asked for, and its bias if biases are."""
    value: Value = args[0]
    module: Any = module_of(node)
    if setting.batch_norm_scale:
        value = _normalised(node, value, module)
    if setting.bias_variance is not None and module.bias is not None:
        value = replace(value, terms=(*value.terms, _bias_term(node, value, setting)))
    return value


def _normalised(node: fx.Node, value: Value, module: Any) -> Value:
    if module.running_var is None:
        refuse(node, "its statistics are those of the batch, also in evaluation mode")
    gamma = 1.0 if module.weight is None else module.weight.detach()
    scale = gamma / torch.sqrt(module.running_var + module.eps)
    scale = scale.to(_some_tensor(value).dtype).reshape(1, -1, *(1,) * value.dims)
    scale = scale.expand(1, value.channels, *value.positions)
    return _multiplied(value, scale, scale)


def _bias_term(node: fx.Node, value: Value, setting: Setting) -> Term:
    """One bias a channel, the same at every position, for every example."""
    assert setting.bias_variance is not None
    moments = [setting.bias_variance, 1.0] if setting.ntk else [setting.bias_variance]
    like = _some_tensor(value)
    kernel = like.new_tensor(moments).reshape(-1, 1, 1, 1, *(1,) * (2 * value.dims))
    kernel = kernel.expand(-1, -1, -1, -1, *value.positions, *value.positions)
    return Term(kernel, None, None, 0.0, node, frozenset({node}))


def identity(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Any:
    """Nothing new: dropout in evaluation mode, identity, changes of type or memory."""
    return args[0]


def row_of_ones(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """A constant-1 input: one row for all examples."""
    (term,) = args[0].terms
    left, right = (torch.ones_like(factor[:1]) for factor in (term.left, term.right))
    return replace(args[0], terms=(replace(term, left=left, right=right),))


# Maps over positions


def _map(node: fx.Node, value: Value, function: Callable[[Tensor], Tensor], selects: bool) -> Value:
    if value.flat:
        refuse(node, "it moves the positions of a flattened image")
    terms = tuple(mapped(t, value, function, node, selects=selects) for t in value.terms)
    example = function(_some_tensor(value).new_zeros(1, 1, *value.positions))
    return replace(value, terms=terms, positions=tuple(example.shape[2:]))


def pooling_module(
    node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting
) -> Value:
    """Average pooling, upsampling: a linear map over positions."""
    return _map(node, args[0], module_of(node), selects=False)


def padding_module(
    node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting
) -> Value:
    """Padding of positions by zeros or by copies."""
    module: Any = module_of(node)
    if getattr(module, "value", 0) != 0:
        refuse(node, "it pads with a constant other than 0")
    return _map(node, args[0], module, selects=True)


def pooling_function(
    node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting
) -> Value:
    """Average pooling as a function."""
    function: Any = node.target
    return _map(node, args[0], lambda image: function(image, *args[1:], **kwargs), selects=False)


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
        value = _map(node, value, lambda image: F.pad(image, inner, mode), selects=True)
    if any(outer):
        before, after = outer
        value = _pad_channels(value, before, after)
    return value


def _pad_channels(value: Value, before: int, after: int) -> Value:
    def pad(factor: Tensor) -> Tensor:
        return F.pad(factor, (0, 0) * (factor.dim() - 2) + (before, after))

    terms = tuple(with_channels(term, value, pad) for term in value.terms)
    return replace(value, terms=terms, channels=before + value.channels + after)


def mean(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Mean or sum over all positions: global average pooling."""
    value: Value = args[0]
    names = ("dim", "keepdim")
    options = {**dict(zip(names, args[1:], strict=False)), **kwargs}
    dim = options.get("dim")
    axes: list[int] = [dim] if isinstance(dim, int) else list(dim or [])
    rank = 2 + value.dims
    if value.flat or sorted(axis % rank for axis in axes) != list(range(2, rank)):
        refuse(node, "it averages over other axes than all positions")
    total = getattr(node.target, "__name__", node.target) == "sum"

    def over_positions(image: Tensor) -> Tensor:
        inner = tuple(range(2, rank))
        return image.sum(inner, keepdim=True) if total else image.mean(inner, keepdim=True)

    value = _map(node, value, over_positions, selects=False)
    return value if options.get("keepdim", False) else replace(value, flat=True)


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
        value = _map(node, value, lambda image: image[(*everything, *inner)], selects=True)
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


def max_pool_switch(
    node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting
) -> Value:
    """A max pool whose choices are given: every channel of every example picks its positions."""
    value, pair = args[:2]
    positions = tuple(pair.left.shape[2:])
    left, right = (side.flatten(2) for side in (pair.left, pair.right))  # (n, c, pooled)
    value = replace(value, terms=tuple(settled(term, value) for term in value.terms))
    terms = tuple(_chosen(term, value, left, right, positions) for term in value.terms)
    return replace(value, terms=terms, positions=positions)


def _chosen(
    term: Term, value: Value, left: Tensor, right: Tensor, positions: tuple[int, ...]
) -> Term:
    def pick(factor: Tensor | None, switch: Tensor) -> Tensor | None:
        if factor is None:
            return None
        flat = factor.flatten(2).expand(len(switch), -1, -1)
        return flat.gather(2, switch).reshape(*switch.shape[:2], *positions)

    kernel = term.kernel
    if kernel is not None:
        n1, n2, c, p = len(left), len(right), value.channels, math.prod(value.positions)
        fine = with_groups(term, c)
        flat = fine.reshape(*fine.shape[:LEADING], p, p).expand(-1, n1, n2, c, p, p)

        def axis(size: int, dim: int) -> Tensor:
            return torch.arange(size, device=left.device).reshape(
                [-1 if d == dim else 1 for d in range(5)]
            )

        chosen = flat[
            :, axis(n1, 0), axis(n2, 1), axis(c, 2), left[:, None, :, :, None], right[:, :, None, :]
        ]
        kernel = chosen.reshape(-1, n1, n2, c, *positions, *positions)
    return replace(
        term,
        kernel=kernel,
        left=pick(term.left, left),
        right=pick(term.right, right),
        source=object(),
    )


# Shapes


def flatten_module(
    node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting
) -> Value:
    """`nn.Flatten` of everything but the examples."""
    module: Any = module_of(node)
    return _flattened(node, args[0], module.start_dim, module.end_dim)


def flatten(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """`torch.flatten(x, 1)`."""
    names = ("start_dim", "end_dim")
    options = {**dict(zip(names, args[1:], strict=False)), **kwargs}
    return _flattened(node, args[0], options.get("start_dim", 0), options.get("end_dim", -1))


def _flattened(node: fx.Node, value: Value, start: int, end: int) -> Value:
    if start != 1 or end not in (-1, 1 + value.dims):
        refuse(node, f"it flattens axes {start} to {end}, not all but the examples")
    return replace(value, flat=True)


def view(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """`view` and `reshape` that flatten an image, or undo that."""
    value: Value = args[0]
    sizes = list(args[1]) if isinstance(args[1], tuple | list) else list(args[1:])
    entries = value.channels * math.prod(value.positions)
    known = math.prod(size for size in sizes[1:] if size != -1)
    inner = tuple(entries // known if size == -1 else size for size in sizes[1:])
    if inner == (value.channels, *value.positions) and value.dims:
        return replace(value, flat=False)
    if inner != (entries,):
        refuse(node, f"it makes {inner} of {(value.channels, *value.positions)}")
    return replace(value, flat=True)


def squeeze(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Dropping the positions that global pooling left."""
    if math.prod(args[0].positions) != 1:
        refuse(node, "it drops an axis that is not a single position")
    return replace(args[0], flat=True)


def shape_query(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Any:
    """Sizes as the first side's examples would have them."""
    value: Value = args[0]
    entries = value.channels * math.prod(value.positions)
    rows = max(len(t.left) if t.left is not None else 1 for t in value.terms)
    inner = (entries,) if value.flat else (value.channels, *value.positions)
    shape = (rows, *inner)
    if node.target == "dim" or args[1:] == ("ndim",):
        return len(shape)
    if args[1:] == ("shape",) or (node.target == "size" and len(args) == 1 and not kwargs):
        return shape
    if node.target == "size":
        return shape[args[1] if len(args) > 1 else kwargs["dim"]]
    return refuse(node, "it reads a property of a tensor")


RULES: dict[Any, Rule] = {
    nn.Linear: dense,
    **dict.fromkeys(ops.CONVOLUTION_MODULES, convolution),
    **dict.fromkeys(ops.BATCH_NORM_MODULES, batch_norm),
    **dict.fromkeys((*ops.DROPOUT_MODULES, nn.Identity), identity),
    **dict.fromkeys(
        [m for m in ops.LINEAR_MODULES if "AvgPool" in m.__name__ or "Upsampl" in m.__name__],
        pooling_module,
    ),
    **dict.fromkeys(
        [m for m in ops.LINEAR_MODULES if m.__name__[:-2].endswith("Pad")], padding_module
    ),
    nn.Flatten: flatten_module,
    apply_gate: gate,
    replay_switch: max_pool_switch,
    one_row_of_ones: row_of_ones,
    **dict.fromkeys([spread_over_batch, *ops.DROPOUT_FUNCTIONS, torch.clone], identity),
    **dict.fromkeys([operator.mul, torch.mul, torch.multiply, "mul", "multiply"], product),
    **dict.fromkeys([*ops.QUOTIENT_FUNCTIONS, *ops.QUOTIENT_METHODS], quotient),
    **dict.fromkeys([operator.neg, torch.neg, "neg"], negation),
    **dict.fromkeys([*ops.ADDITIVE_FUNCTIONS, *ops.ADDITIVE_METHODS], addition),
    **dict.fromkeys(
        [
            F.avg_pool1d,
            F.avg_pool2d,
            F.avg_pool3d,
            F.adaptive_avg_pool1d,
            F.adaptive_avg_pool2d,
            F.adaptive_avg_pool3d,
            F.interpolate,
        ],
        pooling_function,
    ),
    F.pad: padding_function,
    **dict.fromkeys([torch.mean, torch.sum, "mean", "sum"], mean),
    operator.getitem: index,
    **dict.fromkeys([torch.chunk, "chunk"], chunk),
    **dict.fromkeys([torch.cat, torch.concat], concatenation),
    **dict.fromkeys([torch.flatten, "flatten"], flatten),
    **dict.fromkeys([torch.reshape, "view", "reshape"], view),
    **dict.fromkeys([torch.squeeze, "squeeze"], squeeze),
    **dict.fromkeys(["size", "dim", getattr], shape_query),
    **dict.fromkeys(["contiguous", "clone", "detach", "float", "double", "to"], identity),
}
"""Module type, function or method name -> rule."""
