"""How a model spells each operation: the one table of functions, methods and modules.

`h + 1`, `torch.add(h, 1)` and `h.add(other=1)` are one operation, and so are `nn.Flatten()(h)` and
`h.flatten(1)`. `OPERATIONS` gives each a *key*; all other tables, of what is affine
(`dualview.conversion.operations`) and of rules, hold keys and no spellings. Activations and max
pools, which are no operations between gates, have tables of their own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from dualview.conversion.normalisation import channel_affine, group_centred
from dualview.conversion.own_type import OwnType
from dualview.conversion.source_lines import module_of

REQUIRED = object()
"""Stands for a default where there is none."""

Parameters = dict[str, Any]


def _no_options(module: Any) -> Parameters:
    return {}


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        parameters: its arguments with their defaults; the first is what it is applied to.
        functions: that compute it.
        methods: of tensors that do, by name.
        modules: that do, in evaluation mode, by exact type.
        options: of a module, by the names of `parameters`.
    """

    parameters: Parameters
    functions: tuple[Callable[..., Any], ...] = ()
    methods: tuple[str, ...] = ()
    modules: tuple[type[nn.Module], ...] = ()
    options: Callable[[Any], Parameters] = _no_options


def _attributes(*names: str) -> Callable[[Any], Parameters]:
    return lambda module: {name: getattr(module, name) for name in names}


# Options of modules that are no attributes of the same names

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
_PADDING_MODES = {
    "Zero": "constant",
    "Constant": "constant",
    "Circular": "circular",
    "Reflection": "reflect",
    "Replication": "replicate",
}


def _convolution(module: Any) -> Parameters:
    return _attributes(*list(_CONVOLUTION)[1:], "padding_mode")(module)


def _average_pool(module: Any) -> Parameters:
    names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
    return {
        **_attributes(*names)(module),
        "divisor_override": getattr(module, "divisor_override", None),
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


def _unflattening(module: Any) -> Parameters:
    return {"dim": module.dim, "sizes": module.unflattened_size}


_ONE: Parameters = {"input": REQUIRED}
_TWO: Parameters = {"input": REQUIRED, "other": REQUIRED}
_SCALED: Parameters = {**_TWO, "alpha": 1}
_AXIS: Parameters = {"input": REQUIRED, "dim": REQUIRED}
_OVER: Parameters = {"input": REQUIRED, "dim": None, "keepdim": False}
_SHAPED: Parameters = {"input": REQUIRED, "shape": REQUIRED}
_JOIN: Parameters = {"tensors": REQUIRED, "dim": 0}
_PATCHES: Parameters = {"kernel_size": REQUIRED, "dilation": 1, "padding": 0, "stride": 1}

# What passes a value on, adds and multiplies

_ARITHMETIC = {
    "same": Operation(
        _ONE,
        (operator.pos, torch.positive, torch.detach),
        (
            *("to", "type_as", "float", "double", "half", "bfloat16"),
            *("cpu", "cuda", "detach", "contiguous", "positive"),
        ),
        (nn.Identity, OwnType),
    ),
    "copy": Operation(_ONE, (torch.clone,), ("clone",)),
    "dropout": Operation(
        {"input": REQUIRED, "p": 0.5, "training": True, "inplace": False},
        (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d),
        (),
        (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
        _attributes("p", "training"),
    ),
    "add": Operation(_SCALED, (operator.add, torch.add), ("add",)),
    "sub": Operation(_SCALED, (operator.sub, torch.sub, torch.subtract), ("sub", "subtract")),
    "mul": Operation(_TWO, (operator.mul, torch.mul, torch.multiply), ("mul", "multiply")),
    "div": Operation(
        {**_TWO, "rounding_mode": None},
        (operator.truediv, torch.div, torch.true_divide, torch.divide),
        ("div", "divide", "true_divide"),
    ),
    "neg": Operation(_ONE, (operator.neg, torch.neg, torch.negative), ("neg", "negative")),
    "mean": Operation(_OVER, (torch.mean,), ("mean",)),
    "sum": Operation(_OVER, (torch.sum,), ("sum",)),
}

# What multiplies by a matrix or a kernel

_WEIGHTS = {
    "linear": Operation(
        {"input": REQUIRED, "weight": REQUIRED, "bias": None},
        (F.linear,),
        (),
        (nn.Linear,),
        _attributes("weight", "bias"),
    ),
    "matmul": Operation(
        _TWO,
        (operator.matmul, torch.matmul, torch.mm, torch.bmm),
        ("matmul", "mm", "bmm"),
    ),
    "einsum": Operation({"equation": REQUIRED, "operands": REQUIRED}, (torch.einsum,)),
    "convolution": Operation(
        _CONVOLUTION,
        (F.conv1d, F.conv2d, F.conv3d),
        (),
        (nn.Conv1d, nn.Conv2d, nn.Conv3d),
        _convolution,
    ),
    "transposed convolution": Operation(
        _TRANSPOSED,
        (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
        (),
        (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
        _attributes(*list(_TRANSPOSED)[1:]),
    ),
    "embedding": Operation(
        {"input": REQUIRED, "weight": REQUIRED},
        (F.embedding,),
        (),
        (nn.Embedding,),
        _attributes("weight"),
    ),
}

# Normalisations; those by statistics of the example are affine once their scale is given

_NORMS = {
    "batch norm": Operation(
        _ONE, (), (), (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    ),
    "group centred": Operation({"input": REQUIRED, "groups": REQUIRED}, (group_centred,)),
    "channel affine": Operation(
        {"input": REQUIRED, "weight": REQUIRED, "bias": REQUIRED}, (channel_affine,)
    ),
    "layer norm": Operation(
        {
            "input": REQUIRED,
            "normalized_shape": REQUIRED,
            "weight": None,
            "bias": None,
            "eps": 1e-5,
        },
        (F.layer_norm, torch.layer_norm),
        (),
        (nn.LayerNorm,),
        _attributes("normalized_shape", "weight", "bias", "eps"),
    ),
    "softmax": Operation(
        {"input": REQUIRED, "dim": None},
        (F.softmax, torch.softmax),
        ("softmax",),
        (nn.Softmax,),
        _attributes("dim"),
    ),
    "attention": Operation(
        {
            "query": REQUIRED,
            "key": REQUIRED,
            "value": REQUIRED,
            "attn_mask": None,
            "dropout_p": 0.0,
            "is_causal": False,
            "scale": None,
            "enable_gqa": False,
        },
        (F.scaled_dot_product_attention,),
    ),
}

# What goes over positions

_POSITIONS = {
    "average pool": Operation(
        _POOL,
        (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d),
        (),
        (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
        _average_pool,
    ),
    "adaptive average pool": Operation(
        {"input": REQUIRED, "output_size": REQUIRED},
        (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
        (),
        (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
        _attributes("output_size"),
    ),
    "interpolate": Operation(
        _INTERPOLATION,
        (F.interpolate, F.upsample),
        (),
        (nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d),
        _upsampling,
    ),
    "pad": Operation(
        {"input": REQUIRED, "pad": REQUIRED, "mode": "constant", "value": None},
        (F.pad,),
        (),
        (
            *(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d),
            *(nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d),
            *(nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
            *(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
            *(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
        ),
        _padding,
    ),
    "pixel shuffle": Operation(
        {"input": REQUIRED, "factor": REQUIRED},
        (F.pixel_shuffle,),
        (),
        (nn.PixelShuffle,),
        lambda module: {"factor": module.upscale_factor},
    ),
    "pixel unshuffle": Operation(
        {"input": REQUIRED, "factor": REQUIRED},
        (F.pixel_unshuffle,),
        (),
        (nn.PixelUnshuffle,),
        lambda module: {"factor": module.downscale_factor},
    ),
    "channel shuffle": Operation(
        {"input": REQUIRED, "groups": REQUIRED},
        (),
        (),
        (nn.ChannelShuffle,),
        _attributes("groups"),
    ),
    "patches": Operation(
        {"input": REQUIRED, **_PATCHES}, (F.unfold,), (), (nn.Unfold,), _attributes(*_PATCHES)
    ),
    "sum of patches": Operation(
        {"input": REQUIRED, "output_size": REQUIRED, **_PATCHES},
        (F.fold,),
        (),
        (nn.Fold,),
        _attributes("output_size", *_PATCHES),
    ),
    "amax": Operation(_OVER, (torch.amax,), ("amax",)),
    "max": Operation(_OVER, (torch.max,), ("max",)),
}

# What takes, joins and turns entries

_MOVES = {
    "getitem": Operation({"input": REQUIRED, "key": REQUIRED}, (operator.getitem,)),
    "chunk": Operation(
        {"input": REQUIRED, "chunks": REQUIRED, "dim": 0}, (torch.chunk,), ("chunk",)
    ),
    "split": Operation(
        {"input": REQUIRED, "split_size_or_sections": REQUIRED, "dim": 0},
        (torch.split, torch.split_with_sizes),
        ("split", "split_with_sizes"),
    ),
    "unbind": Operation({"input": REQUIRED, "dim": 0}, (torch.unbind,), ("unbind",)),
    "narrow": Operation(
        {"input": REQUIRED, "dim": REQUIRED, "start": REQUIRED, "length": REQUIRED},
        (torch.narrow,),
        ("narrow",),
    ),
    "select": Operation({**_AXIS, "index": REQUIRED}, (torch.select,), ("select",)),
    "index select": Operation(
        {**_AXIS, "index": REQUIRED}, (torch.index_select,), ("index_select",)
    ),
    "windows": Operation(
        {"input": REQUIRED, "dimension": REQUIRED, "size": REQUIRED, "step": REQUIRED},
        (),
        ("unfold",),
    ),
    "roll": Operation(
        {"input": REQUIRED, "shifts": REQUIRED, "dims": None}, (torch.roll,), ("roll",)
    ),
    "flip": Operation({"input": REQUIRED, "dims": REQUIRED}, (torch.flip,), ("flip",)),
    "cat": Operation(_JOIN, (torch.cat, torch.concat, torch.concatenate)),
    "stack": Operation(_JOIN, (torch.stack,)),
    "flatten": Operation(
        {"input": REQUIRED, "start_dim": 0, "end_dim": -1},
        (torch.flatten,),
        ("flatten",),
        (nn.Flatten,),
        _attributes("start_dim", "end_dim"),
    ),
    "unflatten": Operation(
        {**_AXIS, "sizes": REQUIRED},
        (torch.unflatten,),
        ("unflatten",),
        (nn.Unflatten,),
        _unflattening,
    ),
    "reshape": Operation(_SHAPED, (torch.reshape,), ("reshape", "view")),
    "reshape as": Operation(_TWO, (), ("view_as", "reshape_as")),
    "squeeze": Operation({"input": REQUIRED, "dim": None}, (torch.squeeze,), ("squeeze",)),
    "unsqueeze": Operation(_AXIS, (torch.unsqueeze,), ("unsqueeze",)),
    "permute": Operation({"input": REQUIRED, "dims": REQUIRED}, (torch.permute,), ("permute",)),
    "transpose": Operation(
        {"input": REQUIRED, "dim0": REQUIRED, "dim1": REQUIRED},
        (torch.transpose, torch.swapaxes, torch.swapdims),
        ("transpose", "swapaxes", "swapdims"),
    ),
    "movedim": Operation(
        {"input": REQUIRED, "source": REQUIRED, "destination": REQUIRED},
        (torch.movedim, torch.moveaxis),
        ("movedim", "moveaxis"),
    ),
    "t": Operation(_ONE, (torch.t,), ("t",)),
    "expand": Operation(
        {"input": REQUIRED, "size": REQUIRED},
        (torch.broadcast_to,),
        ("expand", "broadcast_to"),
    ),
    "expand as": Operation(_TWO, (), ("expand_as",)),
    "repeat": Operation({"input": REQUIRED, "repeats": REQUIRED}, (), ("repeat",)),
    "tile": Operation({"input": REQUIRED, "dims": REQUIRED}, (torch.tile,), ("tile",)),
}

# What is read off a tensor

_QUERIES = {
    "size": Operation({"input": REQUIRED, "dim": None}, (), ("size",)),
    "dim": Operation(_ONE, (), ("dim", "ndimension")),
    "numel": Operation(_ONE, (), ("numel",)),
    "device number": Operation(_ONE, (), ("get_device",)),
    "attribute": Operation({"input": REQUIRED, "name": REQUIRED}, (getattr,)),
}

OPERATIONS: dict[str, Operation] = {
    **_ARITHMETIC,
    **_WEIGHTS,
    **_NORMS,
    **_POSITIONS,
    **_MOVES,
    **_QUERIES,
}
"""Key -> operation."""

KEY_OF: dict[Any, str] = {
    spelling: key
    for key, operation in OPERATIONS.items()
    for spelling in (*operation.functions, *operation.methods, *operation.modules)
}
"""Function, name of a method or type of a module -> its key."""

TURNED_ATTRIBUTES = {"T": "t", "mT": "transpose"}
"""Attribute of a tensor -> the key of the method that it is short for."""

NUMPYS_NAMES = {
    "self": "input",
    "axis": "dim",
    "keepdims": "keepdim",
    "x": "input",
    "x2": "other",
}
"""Names of arguments that PyTorch takes too."""

ARGUMENT_NAMES = {
    **NUMPYS_NAMES,
    "tensor": "input",
    "mat2": "other",
    "split_size": "split_size_or_sections",
    "split_sizes": "split_size_or_sections",
    "axis0": "dim0",
    "axis1": "dim1",
    "upscale_factor": "factor",
    "downscale_factor": "factor",
}
"""Other names of an argument, where an operation has no such argument itself."""


def key_at(node: fx.Node) -> str:
    """The key of what a node of a traced graph calls; "" where it has none.

    >>> graph = fx.symbolic_trace(nn.Sequential(nn.Flatten())).graph
    >>> [key_at(node) for node in graph.nodes]
    ['', 'flatten', '']
    """
    if node.op == "call_module":
        return KEY_OF.get(type(module_of(node)), "")
    if node.op not in ("call_function", "call_method"):
        return ""
    if node.target is getattr:
        return TURNED_ATTRIBUTES.get(str(node.args[1]), "attribute")
    return KEY_OF.get(node.target, "")


def functional(key: str, dims: int) -> Callable[..., Any]:
    """The function of `torch.nn.functional` that does an operation over so many position axes.

    >>> functional("convolution", 2) is F.conv2d
    True
    """
    return OPERATIONS[key].functions[dims - 1]


def functions_of(keys: Collection[str]) -> frozenset[Any]:
    """All functions of some operations.

    >>> sorted(f.__name__ for f in functions_of(["flip", "roll"]))
    ['flip', 'roll']
    """
    return frozenset(f for key in keys for f in OPERATIONS[key].functions)


def methods_of(keys: Collection[str]) -> frozenset[str]:
    """The names of all methods of some operations.

    >>> sorted(methods_of(["reshape"]))
    ['reshape', 'view']
    """
    return frozenset(name for key in keys for name in OPERATIONS[key].methods)


def modules_of(*keys: str) -> tuple[type[Any], ...]:
    """All types of modules of some operations, in the order of the table.

    >>> modules_of("linear")
    (<class 'torch.nn.modules.linear.Linear'>,)
    """
    return tuple(kind for key in keys for kind in OPERATIONS[key].modules)
