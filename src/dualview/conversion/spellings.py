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


def signature(*required: str, **defaults: Any) -> Parameters:
    """Arguments by name, in order: those that must be given, and those with a default."""
    return {**dict.fromkeys(required, REQUIRED), **defaults}


def _attributes(*names: str) -> Callable[[Any], Parameters]:
    return lambda module: {name: getattr(module, name) for name in names}


_NO_OPTIONS = _attributes()


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
    options: Callable[[Any], Parameters] = _NO_OPTIONS


# Options of modules that are no attributes of the same names

_CONVOLUTION = signature("input", "weight", bias=None, stride=1, padding=0, dilation=1, groups=1)
_TRANSPOSED = signature(
    "input", "weight", bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
)
_POOL = signature(
    "input",
    "kernel_size",
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
)
_INTERPOLATION = signature(
    "input",
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
)
_PADDING_MODES = {
    "Zero": "constant",
    "Constant": "constant",
    "Circular": "circular",
    "Reflection": "reflect",
    "Replication": "replicate",
}


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


_ONE = signature("input")
_TWO = signature("input", "other")
_SCALED = signature("input", "other", alpha=1)
_OVER = signature("input", dim=None, keepdim=False)
_JOIN = signature("tensors", dim=0)
_PATCHES = signature("kernel_size", dilation=1, padding=0, stride=1)

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
        signature("input", p=0.5, training=True, inplace=False),
        (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d),
        (),
        (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
        _attributes("p", "training"),
    ),
    "add": Operation(_SCALED, (operator.add, torch.add), ("add",)),
    "sub": Operation(_SCALED, (operator.sub, torch.sub, torch.subtract), ("sub", "subtract")),
    "mul": Operation(_TWO, (operator.mul, torch.mul, torch.multiply), ("mul", "multiply")),
    "div": Operation(
        signature("input", "other", rounding_mode=None),
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
        signature("input", "weight", bias=None),
        (F.linear,),
        (),
        (nn.Linear,),
        _attributes("weight", "bias"),
    ),
    "matmul": Operation(
        _TWO, (operator.matmul, torch.matmul, torch.mm, torch.bmm), ("matmul", "mm", "bmm")
    ),
    "einsum": Operation(signature("equation", "operands"), (torch.einsum,)),
    "convolution": Operation(
        _CONVOLUTION,
        (F.conv1d, F.conv2d, F.conv3d),
        (),
        (nn.Conv1d, nn.Conv2d, nn.Conv3d),
        _attributes(*list(_CONVOLUTION)[1:], "padding_mode"),
    ),
    "transposed convolution": Operation(
        _TRANSPOSED,
        (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
        (),
        (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
        _attributes(*list(_TRANSPOSED)[1:]),
    ),
    "embedding": Operation(
        signature("input", "weight"), (F.embedding,), (), (nn.Embedding,), _attributes("weight")
    ),
}

# Normalisations; those by statistics of the example are affine once their scale is given

_NORMS = {
    "batch norm": Operation(
        _ONE, (), (), (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    ),
    "group centred": Operation(signature("input", "groups"), (group_centred,)),
    "channel affine": Operation(signature("input", "weight", "bias"), (channel_affine,)),
    "layer norm": Operation(
        signature("input", "normalized_shape", weight=None, bias=None, eps=1e-5),
        (F.layer_norm, torch.layer_norm),
        (),
        (nn.LayerNorm,),
        _attributes("normalized_shape", "weight", "bias", "eps"),
    ),
    "softmax": Operation(
        signature("input", dim=None),
        (F.softmax, torch.softmax),
        ("softmax",),
        (nn.Softmax,),
        _attributes("dim"),
    ),
    "attention": Operation(
        signature(
            "query",
            "key",
            "value",
            attn_mask=None,
            dropout_p=0.0,
            is_causal=False,
            scale=None,
            enable_gqa=False,
        ),
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
        signature("input", "output_size"),
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
        signature("input", "pad", mode="constant", value=None),
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
        signature("input", "factor"),
        (F.pixel_shuffle,),
        (),
        (nn.PixelShuffle,),
        lambda module: {"factor": module.upscale_factor},
    ),
    "pixel unshuffle": Operation(
        signature("input", "factor"),
        (F.pixel_unshuffle,),
        (),
        (nn.PixelUnshuffle,),
        lambda module: {"factor": module.downscale_factor},
    ),
    "channel shuffle": Operation(
        signature("input", "groups"), (), (), (nn.ChannelShuffle,), _attributes("groups")
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
    "getitem": Operation(signature("input", "key"), (operator.getitem,)),
    "chunk": Operation(signature("input", "chunks", dim=0), (torch.chunk,), ("chunk",)),
    "split": Operation(
        signature("input", "split_size_or_sections", dim=0),
        (torch.split, torch.split_with_sizes),
        ("split", "split_with_sizes"),
    ),
    "unbind": Operation(signature("input", dim=0), (torch.unbind,), ("unbind",)),
    "narrow": Operation(signature("input", "dim", "start", "length"), (torch.narrow,), ("narrow",)),
    "select": Operation(signature("input", "dim", "index"), (torch.select,), ("select",)),
    "index select": Operation(
        signature("input", "dim", "index"), (torch.index_select,), ("index_select",)
    ),
    "windows": Operation(signature("input", "dimension", "size", "step"), (), ("unfold",)),
    "roll": Operation(signature("input", "shifts", dims=None), (torch.roll,), ("roll",)),
    "flip": Operation(signature("input", "dims"), (torch.flip,), ("flip",)),
    "cat": Operation(_JOIN, (torch.cat, torch.concat, torch.concatenate)),
    "stack": Operation(_JOIN, (torch.stack,)),
    "flatten": Operation(
        signature("input", start_dim=0, end_dim=-1),
        (torch.flatten,),
        ("flatten",),
        (nn.Flatten,),
        _attributes("start_dim", "end_dim"),
    ),
    "unflatten": Operation(
        signature("input", "dim", "sizes"),
        (torch.unflatten,),
        ("unflatten",),
        (nn.Unflatten,),
        lambda module: {"dim": module.dim, "sizes": module.unflattened_size},
    ),
    "reshape": Operation(signature("input", "shape"), (torch.reshape,), ("reshape", "view")),
    "reshape as": Operation(_TWO, (), ("view_as", "reshape_as")),
    "squeeze": Operation(signature("input", dim=None), (torch.squeeze,), ("squeeze",)),
    "unsqueeze": Operation(signature("input", "dim"), (torch.unsqueeze,), ("unsqueeze",)),
    "permute": Operation(signature("input", "dims"), (torch.permute,), ("permute",)),
    "transpose": Operation(
        signature("input", "dim0", "dim1"),
        (torch.transpose, torch.swapaxes, torch.swapdims),
        ("transpose", "swapaxes", "swapdims"),
    ),
    "movedim": Operation(
        signature("input", "source", "destination"),
        (torch.movedim, torch.moveaxis),
        ("movedim", "moveaxis"),
    ),
    "t": Operation(_ONE, (torch.t,), ("t",)),
    "expand": Operation(
        signature("input", "size"), (torch.broadcast_to,), ("expand", "broadcast_to")
    ),
    "expand as": Operation(_TWO, (), ("expand_as",)),
    "repeat": Operation(signature("input", "repeats"), (), ("repeat",)),
    "tile": Operation(signature("input", "dims"), (torch.tile,), ("tile",)),
}

# What is read off a tensor

_QUERIES = {
    "size": Operation(signature("input", dim=None), (), ("size",)),
    "dim": Operation(_ONE, (), ("dim", "ndimension")),
    "numel": Operation(_ONE, (), ("numel",)),
    "device number": Operation(_ONE, (), ("get_device",)),
    "attribute": Operation(signature("input", "name"), (getattr,)),
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

NUMPYS_NAMES = {"self": "input", "axis": "dim", "keepdims": "keepdim", "x": "input", "x2": "other"}
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
