"""The one normal form of a call: a key for the operation, and its arguments by name.

`h + 1`, `torch.add(h, 1)` and `h.add(other=1)` are one operation, and so are `nn.Flatten()(h)` and
`h.flatten(1)`. Every table of rules (kernel, paths, filters, the fast kernel) has one entry for one
key; how a model spells it is known here alone. `normal_call` reads a node of a traced graph, which
stays as the model wrote it.

Arguments that are left out have their defaults. What an argument holds is what the node holds: a
node of the graph, or a Python value.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from dualview.conversion import operations as ops
from dualview.conversion.gates import apply_gate
from dualview.conversion.input_transform import InputTransform
from dualview.conversion.multipliers import (
    query_of_examples,
    replay_layer_norm,
    softmax_weights,
)
from dualview.conversion.normalisation import channel_affine, group_centred
from dualview.conversion.pooling import replay_switch
from dualview.conversion.products import as_multiplier
from dualview.conversion.source_lines import module_of, operation_name
from dualview.conversion.weights_graph import one_row_of_ones, spread_over_batch


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        key: what is computed; one of `KEYS`, or the plain name of an operation that has none.
        arguments: by name. The first is what the operation is applied to.
        module: the module that is called, if one is.
    """

    key: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    module: nn.Module | None = None

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """An argument that not every spelling has."""
        return self.arguments.get(name, default)


REQUIRED = object()
"""Stands for a default where there is none."""

Parameters = dict[str, Any]

_CONVOLUTION: Parameters = {
    "input": REQUIRED,
    "weight": REQUIRED,
    "bias": None,
    "stride": 1,
    "padding": 0,
    "dilation": 1,
    "groups": 1,
}
_TRANSPOSED: Parameters = {
    "input": REQUIRED,
    "weight": REQUIRED,
    "bias": None,
    "stride": 1,
    "padding": 0,
    "output_padding": 0,
    "groups": 1,
    "dilation": 1,
}
_POOL: Parameters = {
    "input": REQUIRED,
    "kernel_size": REQUIRED,
    "stride": None,
    "padding": 0,
    "ceil_mode": False,
    "count_include_pad": True,
    "divisor_override": None,
}
_INTERPOLATION: Parameters = {
    "input": REQUIRED,
    "size": None,
    "scale_factor": None,
    "mode": "nearest",
    "align_corners": None,
    "recompute_scale_factor": None,
    "antialias": False,
}

SAME_VALUE = frozenset(
    ["to", "type_as", "float", "double", "half", "bfloat16", "cpu", "cuda", "detach", "contiguous"]
)
"""Methods that leave the numbers alone: a change of type would round, `detach` would hide paths."""

_AXES: Parameters = {"input": REQUIRED, "dim0": REQUIRED, "dim1": REQUIRED}
_MOVES: Parameters = {"input": REQUIRED, "source": REQUIRED, "destination": REQUIRED}
_OVER: Parameters = {"input": REQUIRED, "dim": None, "keepdim": False}
_ONE: Parameters = {"input": REQUIRED}
_TWO: Parameters = {"input": REQUIRED, "other": REQUIRED}
_JOIN: Parameters = {"tensors": REQUIRED, "dim": 0}

SPELLINGS: dict[str, tuple[Parameters, tuple[Any, ...]]] = {
    "same": (
        _ONE,
        (
            *SAME_VALUE,
            "clone",
            torch.clone,
            operator.pos,
            *ops.DROPOUT_FUNCTIONS,
            as_multiplier,
            query_of_examples,
            softmax_weights,
        ),
    ),
    "ones": (_ONE, (one_row_of_ones,)),
    "spread": ({"input": REQUIRED, "examples": REQUIRED}, (spread_over_batch,)),
    "gate": ({"input": REQUIRED, "gate": REQUIRED}, (apply_gate,)),
    "switch": ({"input": REQUIRED, "switch": REQUIRED, "dims": REQUIRED}, (replay_switch,)),
    "add": ({**_TWO, "alpha": 1}, (operator.add, torch.add, "add")),
    "sub": ({**_TWO, "alpha": 1}, (operator.sub, torch.sub, "sub")),
    "mul": (_TWO, (operator.mul, torch.mul, torch.multiply, "mul", "multiply")),
    "div": ({**_TWO, "rounding_mode": None}, (*ops.QUOTIENT_FUNCTIONS, *ops.QUOTIENT_METHODS)),
    "neg": (_ONE, (operator.neg, torch.neg, "neg")),
    "linear": ({"input": REQUIRED, "weight": REQUIRED, "bias": None}, (F.linear,)),
    "matmul": (
        _TWO,
        (operator.matmul, torch.matmul, torch.mm, torch.bmm, "matmul", "mm", "bmm"),
    ),
    "einsum": ({"equation": REQUIRED, "operands": REQUIRED}, (torch.einsum,)),
    "convolution": (_CONVOLUTION, (F.conv1d, F.conv2d, F.conv3d)),
    "transposed convolution": (
        _TRANSPOSED,
        (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
    ),
    "embedding": ({"input": REQUIRED, "weight": REQUIRED}, (F.embedding,)),
    "layer norm": (
        {
            "input": REQUIRED,
            "scale": REQUIRED,
            "normalised": REQUIRED,
            "weight": None,
            "bias": None,
        },
        (replay_layer_norm,),
    ),
    "group centred": ({"input": REQUIRED, "groups": REQUIRED}, (group_centred,)),
    "channel affine": (
        {"input": REQUIRED, "weight": REQUIRED, "bias": REQUIRED},
        (channel_affine,),
    ),
    "average pool": (_POOL, (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)),
    "adaptive average pool": (
        {"input": REQUIRED, "output_size": REQUIRED},
        (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
    ),
    "interpolate": (_INTERPOLATION, (F.interpolate, F.upsample)),
    "pad": (
        {"input": REQUIRED, "pad": REQUIRED, "mode": "constant", "value": None},
        (F.pad,),
    ),
    "mean": (_OVER, (torch.mean, "mean")),
    "sum": (_OVER, (torch.sum, "sum")),
    "getitem": ({"input": REQUIRED, "key": REQUIRED}, (operator.getitem,)),
    "chunk": ({"input": REQUIRED, "chunks": REQUIRED, "dim": 0}, (torch.chunk, "chunk")),
    "split": (
        {"input": REQUIRED, "split_size_or_sections": REQUIRED, "dim": 0},
        (torch.split, "split"),
    ),
    "unbind": ({"input": REQUIRED, "dim": 0}, (torch.unbind, "unbind")),
    "narrow": (
        {"input": REQUIRED, "dim": REQUIRED, "start": REQUIRED, "length": REQUIRED},
        (torch.narrow, "narrow"),
    ),
    "select": (
        {"input": REQUIRED, "dim": REQUIRED, "index": REQUIRED},
        (torch.select, "select"),
    ),
    "index select": (
        {"input": REQUIRED, "dim": REQUIRED, "index": REQUIRED},
        (torch.index_select, "index_select"),
    ),
    "roll": ({"input": REQUIRED, "shifts": REQUIRED, "dims": None}, (torch.roll, "roll")),
    "flip": ({"input": REQUIRED, "dims": REQUIRED}, (torch.flip, "flip")),
    "cat": (_JOIN, (torch.cat, torch.concat, torch.concatenate)),
    "stack": (_JOIN, (torch.stack,)),
    "flatten": (
        {"input": REQUIRED, "start_dim": 0, "end_dim": -1},
        (torch.flatten, "flatten"),
    ),
    "unflatten": (
        {"input": REQUIRED, "dim": REQUIRED, "sizes": REQUIRED},
        (torch.unflatten, "unflatten"),
    ),
    "reshape": ({"input": REQUIRED, "shape": REQUIRED}, (torch.reshape, "reshape", "view")),
    "reshape as": (_TWO, ("view_as", "reshape_as")),
    "squeeze": ({"input": REQUIRED, "dim": None}, (torch.squeeze, "squeeze")),
    "unsqueeze": ({"input": REQUIRED, "dim": REQUIRED}, (torch.unsqueeze, "unsqueeze")),
    "permute": ({"input": REQUIRED, "dims": REQUIRED}, (torch.permute, "permute")),
    "transpose": (
        _AXES,
        (
            torch.transpose,
            torch.swapaxes,
            torch.swapdims,
            "transpose",
            "swapaxes",
            "swapdims",
        ),
    ),
    "movedim": (_MOVES, (torch.movedim, torch.moveaxis, "movedim", "moveaxis")),
    "t": (_ONE, (torch.t, "t")),
    "expand": (
        {"input": REQUIRED, "size": REQUIRED},
        (torch.broadcast_to, "expand"),
    ),
    "expand as": (_TWO, ("expand_as",)),
    "repeat": ({"input": REQUIRED, "repeats": REQUIRED}, ("repeat",)),
    "tile": ({"input": REQUIRED, "dims": REQUIRED}, (torch.tile, "tile")),
    "pixel shuffle": ({"input": REQUIRED, "factor": REQUIRED}, (F.pixel_shuffle,)),
    "pixel unshuffle": ({"input": REQUIRED, "factor": REQUIRED}, (F.pixel_unshuffle,)),
    "patches": (
        {
            "input": REQUIRED,
            "kernel_size": REQUIRED,
            "dilation": 1,
            "padding": 0,
            "stride": 1,
        },
        (F.unfold,),
    ),
    "sum of patches": (
        {
            "input": REQUIRED,
            "output_size": REQUIRED,
            "kernel_size": REQUIRED,
            "dilation": 1,
            "padding": 0,
            "stride": 1,
        },
        (F.fold,),
    ),
    "windows": (
        {"input": REQUIRED, "dimension": REQUIRED, "size": REQUIRED, "step": REQUIRED},
        ("unfold",),
    ),
    "size": ({"input": REQUIRED, "dim": None}, ("size",)),
    "dim": (_ONE, ("dim", "ndimension")),
    "numel": (_ONE, ("numel",)),
    "attribute": ({"input": REQUIRED, "name": REQUIRED}, (getattr,)),
}

"""Key -> (its arguments with their defaults, the functions and names of methods that it has)."""

_NAMES = {
    "self": "input",
    "x": "input",
    "row": "input",
    "tensor": "input",
    "factor": "input",
    "query": "input",
    "weights": "input",
    "value": "input",
    "axis": "dim",
    "keepdims": "keepdim",
    "x2": "other",
    "mat2": "other",
    "split_size": "split_size_or_sections",
    "axis0": "dim0",
    "axis1": "dim1",
    "upscale_factor": "factor",
    "downscale_factor": "factor",
}
"""Other names of an argument, where a key has no such argument itself."""

_IN_A_ROW = {
    "reshape": "shape",
    "permute": "dims",
    "expand": "size",
    "repeat": "repeats",
    "tile": "dims",
    "flip": "dims",
}
"""Methods that take a list as several arguments too -> its name."""

KEY_OF: dict[Any, str] = {
    spelling: key for key, (_, spellings) in SPELLINGS.items() for spelling in spellings
}
"""Function or name of a method -> its key."""

# Modules: (key, how its options are read)


def _attributes(*names: str) -> Callable[[Any], Parameters]:
    return lambda module: {name: getattr(module, name) for name in names}


def _convolution(module: Any) -> Parameters:
    return {
        **_attributes("weight", "bias", "stride", "padding", "dilation", "groups")(module),
        "padding_mode": module.padding_mode,
    }


def _transposed(module: Any) -> Parameters:
    return _attributes(*list(_TRANSPOSED)[1:])(module)


def _average_pool(module: Any) -> Parameters:
    names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
    return {
        **_attributes(*names)(module),
        "divisor_override": getattr(module, "divisor_override", None),
    }


_PADDING_MODES = {
    "Zero": "constant",
    "Constant": "constant",
    "Circular": "circular",
    "Reflection": "reflect",
    "Replication": "replicate",
}


def _padding(module: Any) -> Parameters:
    kind = type(module).__name__.split("Pad")[0]
    return {
        "pad": tuple(module.padding),
        "mode": _PADDING_MODES[kind],
        "value": getattr(module, "value", None) or None,
    }


def _upsampling(module: Any) -> Parameters:
    return {
        **{name: value for name, value in _INTERPOLATION.items() if name != "input"},
        **_attributes("size", "scale_factor", "mode", "align_corners")(module),
        "recompute_scale_factor": module.recompute_scale_factor,
    }


def _modules(word: str) -> list[type[nn.Module]]:
    return [module for module in ops.LINEAR_MODULES if word in module.__name__]


_MODULES: dict[type[nn.Module], tuple[str, Callable[[Any], Parameters]]] = {
    **dict.fromkeys((*ops.DROPOUT_MODULES, nn.Identity), ("same", lambda module: {})),
    **dict.fromkeys(ops.DENSE_MODULES, ("linear", _attributes("weight", "bias"))),
    **dict.fromkeys(ops.CONVOLUTION_MODULES, ("convolution", _convolution)),
    **dict.fromkeys(_modules("ConvTranspose"), ("transposed convolution", _transposed)),
    **dict.fromkeys(ops.BATCH_NORM_MODULES, ("batch norm", lambda module: {})),
    InputTransform: ("input transform", lambda module: {}),
    nn.Embedding: ("embedding", _attributes("weight")),
    **dict.fromkeys(
        _modules("AdaptiveAvgPool"), ("adaptive average pool", _attributes("output_size"))
    ),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), ("average pool", _average_pool)),
    **dict.fromkeys(_modules("Upsampl"), ("interpolate", _upsampling)),
    **dict.fromkeys([m for m in _modules("Pad") if "Pad" in m.__name__[-5:]], ("pad", _padding)),
    nn.Flatten: ("flatten", _attributes("start_dim", "end_dim")),
    nn.Unflatten: (
        "unflatten",
        lambda module: {"dim": module.dim, "sizes": module.unflattened_size},
    ),
    nn.PixelShuffle: ("pixel shuffle", lambda module: {"factor": module.upscale_factor}),
    nn.PixelUnshuffle: ("pixel unshuffle", lambda module: {"factor": module.downscale_factor}),
    nn.ChannelShuffle: ("channel shuffle", _attributes("groups")),
    nn.Unfold: ("patches", _attributes("kernel_size", "dilation", "padding", "stride")),
    nn.Fold: (
        "sum of patches",
        _attributes("output_size", "kernel_size", "dilation", "padding", "stride"),
    ),
}

KEYS = frozenset(SPELLINGS) | {key for key, _ in _MODULES.values()}
"""Every key of a call that is known here."""


def key_of(target: Any) -> str:
    """The key of a function, of a method's name, or of a module's type.

    >>> key_of(torch.concat), key_of("swapaxes"), key_of(nn.Flatten)
    ('cat', 'transpose', 'flatten')
    """
    if isinstance(target, type) and issubclass(target, nn.Module):
        return _MODULES[target][0]
    return KEY_OF[target]


def spellings_of(key: str) -> tuple[Any, ...]:
    """Every function, method name and module type of a key.

    >>> spellings_of("neg")[1:]
    (<built-in method neg of type object at ...>, 'neg')
    """
    modules = (module for module, (of, _) in _MODULES.items() if of == key)
    return (*SPELLINGS.get(key, ({}, ()))[1], *modules)


def normal_call(node: fx.Node) -> Call:
    """The call at a node of a traced graph.

    A module's options are its own attributes; the key of an operation that is not known here is
    its plain name, without arguments.

    >>> graph = fx.symbolic_trace(nn.Sequential(nn.Flatten())).graph
    >>> call = normal_call(list(graph.nodes)[1])
    >>> call.key, call["start_dim"]
    ('flatten', 1)
    """
    if node.op == "call_module":
        module = module_of(node)
        known = _MODULES.get(type(module))
        if known is None:
            return Call(type(module).__name__, {}, module)
        key, read = known
        given = (*node.args, *node.kwargs.values())
        extra = {"output_size": given[1]} if len(given) > 1 else {}
        options = {**read(module), **_dims(type(module)), **extra}
        return Call(key, {"input": given[0], **options}, module)
    if node.target is getattr and node.args[1] in ops.LINEAR_ATTRIBUTES:
        turned = {"input": node.args[0]}
        if node.args[1] == "T":
            return Call("t", turned)
        return Call("transpose", {**turned, "dim0": -2, "dim1": -1})
    key = KEY_OF.get(node.target, "")
    if not key:
        return Call(operation_name(node))
    if key == "einsum":
        equation, *operands = node.args
        if len(operands) == 1 and isinstance(operands[0], Sequence):
            operands = list(operands[0])
        return Call(key, {"equation": equation, "operands": operands})
    return Call(key, _bound(key, node.args, node.kwargs) | _dims(node.target))


_DIMS: dict[Any, int] = {
    kind: dims
    for dims, kinds in {
        1: (nn.AvgPool1d, nn.AdaptiveAvgPool1d, F.avg_pool1d, F.adaptive_avg_pool1d),
        2: (nn.AvgPool2d, nn.AdaptiveAvgPool2d, F.avg_pool2d, F.adaptive_avg_pool2d),
        3: (nn.AvgPool3d, nn.AdaptiveAvgPool3d, F.avg_pool3d, F.adaptive_avg_pool3d),
    }.items()
    for kind in kinds
}


def _dims(target: Any) -> Parameters:
    """How many position axes a pool goes over."""
    return {"dims": _DIMS[target]} if target in _DIMS else {}


def _bound(key: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    parameters = SPELLINGS[key][0]
    row = _IN_A_ROW.get(key)
    whole = len(args) == 2 and isinstance(args[1], tuple | list | fx.Node)  # a node: a whole shape
    if row is not None and len(args) > 1 and not whole:
        args = (args[0], tuple(args[1:]))
    named = {}
    for name, value in kwargs.items():
        known = name if name in parameters else _NAMES.get(name, name)
        if known not in parameters and row is not None and name in ("size", "shape", "sizes"):
            known = row
        named[known] = value
    rest = [name for name in parameters if name not in named]
    given = {**dict(zip(rest, args, strict=False)), **named}
    defaults = {name: value for name, value in parameters.items() if value is not REQUIRED}
    ordered = {name: given[name] for name in parameters if name in given}
    return {**defaults, **ordered, **given} if given else {**defaults}


def linear_call(
    call: Call, depends: Callable[[Any], bool], value: Callable[[Any], torch.Tensor]
) -> tuple[Call, int] | None:
    """A product with a constant matrix as the dense layer that it is, and the axis it sums over.

    `F.linear(h, W)`, `h @ W`, `W @ h`, `torch.mm`, and an einsum of two of which one is constant
    and has one letter that is summed, which becomes another. The axis counts from the last of the
    input, and the new features stand where it was.

    Args:
        call: of key linear, matmul or einsum.
        depends: whether an argument depends on the example.
        value: the value of an argument that does not.

    Returns:
        The call, whose weight is (outputs, inputs), and the axis; None where it is no such product.
    """
    if call.key == "linear":
        return (call, -1) if depends(call["input"]) and not depends(call["weight"]) else None
    if call.key == "matmul":
        return _matrix_product(call["input"], call["other"], depends, value)
    if call.key == "einsum" and len(call["operands"]) == 2:
        return _einsum(call["equation"], call["operands"], depends, value)
    return None


def _dense(data: Any, weight: torch.Tensor, axis: int) -> tuple[Call, int]:
    return Call("linear", {"input": data, "weight": weight, "bias": None}), axis


def _matrix_product(
    left: Any, right: Any, depends: Callable[[Any], bool], value: Callable[[Any], torch.Tensor]
) -> tuple[Call, int] | None:
    if depends(left) == depends(right):
        return None
    matrix = value(right if depends(left) else left)
    if matrix.dim() != 2:
        return None
    return _dense(left, matrix.mT, -1) if depends(left) else _dense(right, matrix, -2)


def _einsum(
    equation: str,
    operands: Sequence[Any],
    depends: Callable[[Any], bool],
    value: Callable[[Any], torch.Tensor],
) -> tuple[Call, int] | None:
    terms, _, result = equation.replace(" ", "").replace("...", "*").partition("->")
    names = terms.split(",")
    data = [depends(operand) for operand in operands]
    if sum(data) != 1 or not result:
        return None
    (one, two), (data_name, matrix_name) = (
        (operands, names)
        if data[0]
        else (
            tuple(operands)[::-1],
            names[::-1],
        )
    )
    if len(matrix_name) != 2 or "*" in matrix_name or len(set(data_name)) < len(data_name):
        return None
    summed = [c for c in matrix_name if c in data_name and c not in result]
    made = [c for c in matrix_name if c not in data_name and c in result]
    if len(summed) != 1 or len(made) != 1:
        return None
    if data_name.replace(summed[0], made[0]) != result:
        return None
    matrix = value(two)
    weight = matrix if matrix_name == made[0] + summed[0] else matrix.mT
    behind = data_name[data_name.index(summed[0]) :]
    if "*" in behind:
        return None
    return _dense(one, weight, -len(behind))
