"""ATen operations -> the functions and methods that a user would have written.

`torch.export` writes down ATen calls. `written(call)` makes of each the call of `torch`,
`torch.nn.functional`, a method or an operator with the same meaning. What no table here knows stays
the ATen operation that it was.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx
from torch.nn import functional as F

Arguments = dict[str, Any]

LAST = torch.iinfo(torch.int64).max
"""The end of a slice that has none."""


@dataclass(frozen=True)
class Call:
    """One ATen call.

    Attributes:
        name: of the operation, without its overload: "conv2d", "add_" (in place).
        node: as it was captured, with the shapes of its values in `meta["val"]`.
        args: as they were given, over the new graph.
        kwargs: likewise.
        arguments: all of them by ATen's names, defaults included.
        graph: the new graph.
    """

    name: str
    node: fx.Node
    args: tuple[Any, ...]
    kwargs: Arguments
    arguments: Arguments
    graph: fx.Graph

    def rank(self) -> int:
        """Number of axes of the first argument."""
        source: Any = self.node.args[0]
        return source.meta["val"].dim()

    def function(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """A call of `target` in the new graph."""
        return self.graph.call_function(target, args, kwargs)

    def method(self, name: str, *args: Any, **kwargs: Any) -> fx.Node:
        """A call of a tensor's method in the new graph."""
        return self.graph.call_method(name, args, kwargs)


def call_of(node: fx.Node, args: tuple[Any, ...], kwargs: Arguments, graph: fx.Graph) -> Call:
    """The ATen call at `node`, whose arguments in `graph` are `args` and `kwargs`."""
    target: Any = node.target
    schema = target._schema
    given = dict(zip((argument.name for argument in schema.arguments), args, strict=False))
    defaults = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    name = schema.name.split("::")[1]
    return Call(name, node, args, kwargs, {**defaults, **given, **kwargs}, graph)


def written(call: Call) -> Any:
    """The node, of the new graph, that stands for `call`."""
    plain = call.name.removesuffix("_")
    if plain != call.name and hasattr(torch.Tensor, call.name):
        return call.method(call.name, *call.args, **call.kwargs)
    if plain != call.name:  # as the functions of torch.nn.functional are told to work in place
        node = written(replace(call, name=plain))
        node.kwargs = {**node.kwargs, "inplace": True}
        return node
    rule = _RULES.get(call.name)
    if rule is not None:
        return rule(call)
    if call.name in _METHODS:
        return call.method(call.name, *call.args, **call.kwargs)
    if call.name in _OF_FUNCTIONAL:
        return call.function(_OF_FUNCTIONAL[call.name], *call.args, **call.kwargs)
    # Functions of `torch` are generated from ATen's schemas, so their arguments are the same.
    target: Any = getattr(torch, call.name, call.node.target)
    return call.function(target, *call.args, **call.kwargs)


_METHODS = frozenset(
    [
        *("view", "expand", "contiguous", "type_as", "reshape_as", "expand_as", "view_as"),
        *("repeat", "new_zeros", "new_ones", "new_full"),
    ]
)
"""What a user calls as a method."""

_OF_FUNCTIONAL: dict[str, Callable[..., Any]] = {
    name: getattr(F, name)
    for name in (
        *("linear", "bilinear", "conv1d", "conv2d", "conv3d"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
        *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
        *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
        *("pad", "pixel_shuffle", "pixel_unshuffle", "rms_norm", "scaled_dot_product_attention"),
        *("celu", "elu", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh"),
        *("leaky_relu", "mish", "prelu", "relu6", "selu", "silu", "softplus", "softshrink"),
    )
} | {"log_sigmoid": F.logsigmoid, "split_with_sizes": torch.split}
"""Same arguments in `torch.nn.functional`, or in another function of `torch`."""


def _slice(call: Call) -> Any:
    """`x[:, start:end:step]`."""
    start, end, step = (call.arguments[name] for name in ("start", "end", "step"))
    start = None if start == 0 else start
    end = None if isinstance(end, int) and end == LAST else end
    if (start, end, step) == (None, None, 1):
        return call.args[0]
    return _at(call, slice(start, end, None if step == 1 else step))


def _select(call: Call) -> fx.Node:
    """`x[:, index]`."""
    return _at(call, call.arguments["index"])


def _at(call: Call, key: Any) -> fx.Node:
    axis = call.arguments["dim"] % call.rank()
    keys = (*(slice(None),) * axis, key)
    return call.function(operator.getitem, call.args[0], keys)


def _index(call: Call) -> fx.Node:
    """`x[a, :, b]` with tensors of indices."""
    keys = tuple(slice(None) if key is None else key for key in call.arguments["indices"])
    return call.function(operator.getitem, call.args[0], keys)


def _pool(call: Call) -> fx.Node:
    """A pool whose stride, where none was given, is its window."""
    target: Any = getattr(F, call.name)
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "count_include_pad")
    options = {name: call.arguments[name] for name in names if name in call.arguments}
    options["stride"] = options["stride"] or None
    divisor = call.arguments.get("divisor_override")
    if divisor is not None:
        options["divisor_override"] = divisor
    return call.function(target, call.args[0], **options)


def _interpolate(mode: str) -> Callable[[Call], fx.Node]:
    def rule(call: Call) -> fx.Node:
        size = call.arguments["output_size"]
        if "scale_factors" in call.arguments:
            options = {"size": size, "scale_factor": call.arguments["scale_factors"]}
        else:  # the size is what counts; the scales are what it was computed from
            options = {"size": size}
        if "align_corners" in call.arguments:
            options["align_corners"] = call.arguments["align_corners"]
        return call.function(F.interpolate, call.args[0], mode=mode, **options)

    return rule


def _hardtanh(call: Call) -> fx.Node:
    low, high = call.arguments["min_val"], call.arguments["max_val"]
    if (low, high) == (0, 6):
        return call.function(F.relu6, call.args[0])
    return call.function(F.hardtanh, call.args[0], low, high)


def _elu(call: Call) -> fx.Node:
    """ELU, or SELU and CELU by their numbers."""
    alpha, scale, inner = (call.arguments[name] for name in ("alpha", "scale", "input_scale"))
    if (scale, inner) == (1, 1):
        return call.function(F.elu, call.args[0], alpha)
    # torch.fx allows names as targets, but a captured call has an ATen operation.
    return call.function(call.node.target, *call.args, **call.kwargs)  # type: ignore[arg-type]


def _softmax(function: Callable[..., Any]) -> Callable[[Call], fx.Node]:
    def rule(call: Call) -> fx.Node:
        dtype = call.arguments.get("dtype")
        options = {} if dtype is None else {"dtype": dtype}
        return call.function(function, call.args[0], call.arguments["dim"], **options)

    return rule


def _to(call: Call) -> Any:
    """A change of type; of memory only where the type stays."""
    source: Any = call.node.args[0]
    dtype = call.arguments.get("dtype")
    if dtype is None or source.meta["val"].dtype == dtype:
        return call.args[0]
    return call.method("to", call.args[0], dtype)


def _norm(function: Callable[..., Any], over: str) -> Callable[[Call], fx.Node]:
    names = (over, "weight", "bias", "eps")
    return lambda call: call.function(function, call.args[0], *map(call.arguments.get, names))


def _addmm(call: Call) -> Any:
    """`b + x @ w`, as Hugging Face's Conv1D is written."""
    if (call.arguments["beta"], call.arguments["alpha"]) != (1, 1):
        return call.function(torch.addmm, *call.args, **call.kwargs)
    product = call.function(torch.matmul, call.args[1], call.args[2])
    return call.function(torch.add, product, call.args[0])


def _embedding(call: Call) -> fx.Node:
    return call.function(F.embedding, call.arguments["indices"], call.arguments["weight"])


def _constant_pad(call: Call) -> fx.Node:
    return call.function(
        F.pad, call.args[0], call.arguments["pad"], "constant", call.arguments["value"]
    )


_RULES: dict[str, Callable[[Call], Any]] = {
    "sym_size": lambda call: call.method("size", *call.args),
    **dict.fromkeys(("alias", "detach", "lift_fresh_copy"), lambda call: call.args[0]),
    **dict.fromkeys(("_to_copy", "to"), _to),
    "slice": _slice,
    "select": _select,
    "index": _index,
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _pool),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _pool),
    **{f"upsample_nearest{dims}d": _interpolate("nearest") for dims in (1, 2, 3)},
    "upsample_linear1d": _interpolate("linear"),
    "upsample_bilinear2d": _interpolate("bilinear"),
    "upsample_bicubic2d": _interpolate("bicubic"),
    "upsample_trilinear3d": _interpolate("trilinear"),
    "hardtanh": _hardtanh,
    "elu": _elu,
    "softmax": _softmax(torch.softmax),
    "log_softmax": _softmax(torch.log_softmax),
    "layer_norm": _norm(F.layer_norm, "normalized_shape"),
    "group_norm": _norm(F.group_norm, "num_groups"),
    "addmm": _addmm,
    "constant_pad_nd": _constant_pad,
    "embedding": _embedding,
}
