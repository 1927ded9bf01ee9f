"""Layers with weights as steps: dense, convolutional, transposed; as modules and as functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from dualview.path_attribution.building import ProgramBuilder, refuse, without_example
from dualview.path_attribution.steps import Gather, Label, Part, Sum, Weighted

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_CONVOLUTION_NAMES = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED_NAMES = (
    "input",
    "weight",
    "bias",
    "stride",
    "padding",
    "output_padding",
    "groups",
    "dilation",
)


def dense(node: fx.Node, builder: ProgramBuilder) -> int:
    """A dense layer, over the last axis."""
    if node.op == "call_module":
        module = builder.module(node)
        data = node.args[0] if node.args else node.kwargs["input"]
        return _dense(node, builder, data, module.weight, module.bias, True)
    names = ("input", "weight", "bias")
    call = {"bias": None, **dict(zip(names, node.args, strict=False)), **node.kwargs}
    weight, bias = _fixed(node, builder, call["weight"], call["bias"])
    return _dense(node, builder, call["input"], weight, bias, builder.is_learnt(call["weight"]))


def matrix_product(node: fx.Node, builder: ProgramBuilder) -> int:
    """A product with a constant matrix on the right: a dense layer without bias."""
    data, matrix = node.args if len(node.args) == 2 else (node.args[0], *node.kwargs.values())
    if not builder.is_data(data) or builder.values[matrix].dim() != 2:  # type: ignore[index]
        refuse(node, "it is not the product of an activation and a constant matrix, in this order")
    (weight,) = _fixed(node, builder, matrix)
    return _dense(node, builder, data, weight.mT, None, builder.is_learnt(matrix))


def _fixed(node: fx.Node, builder: ProgramBuilder, *tensors: Any) -> list[Any]:
    if any(builder.is_data(tensor) for tensor in tensors):
        refuse(node, "its weight or bias depends on the input")
    return [builder.fixed(tensor) for tensor in tensors]


def _dense(
    node: fx.Node,
    builder: ProgramBuilder,
    data: Any,
    weight: Tensor,
    bias: Tensor | None,
    learnt: bool,
) -> int:
    outputs, inputs = weight.shape
    lead = builder.shape(data)[:-1]
    positions = int(np.prod(lead))
    source = builder.source(data)
    layer = builder.label(node, "weights").layer
    if positions > 1:  # (lead, inputs) -> (inputs, lead)
        moved = Label(layer, "map", (inputs, *without_example(lead)))
        source = builder.add(Sum(moved, (Part(source, _transposition(positions, inputs)),)))
    step = Weighted(
        Label(layer, "weights", (outputs, *without_example(lead))),
        source,
        np.arange(positions)[None],
        _array(weight)[None],
        None if bias is None else _array(bias),
        learnt,
    )
    result = builder.add(step)
    if positions > 1:
        back = Part(result, _transposition(outputs, positions))
        result = builder.add(Sum(builder.label(node, layer=layer), (back,)))
    return result


def _transposition(rows: int, columns: int) -> Gather:
    """(rows, columns), flat -> (columns, rows), flat."""
    return Gather(1, np.arange(rows * columns).reshape(rows, columns).T.reshape(-1, 1))


def _array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().double().numpy()
    return array


def convolution(node: fx.Node, builder: ProgramBuilder) -> int:
    """A convolution or a transposed one, of any stride, padding, dilation and groups."""
    call = _module_call(node, builder) if node.op == "call_module" else _function_call(node)
    data = call.pop("input")
    learnt = node.op == "call_module" or builder.is_learnt(call["weight"])
    weight, bias = _fixed(node, builder, call.pop("weight"), call.pop("bias"))
    transposed = call.pop("transposed")
    shape = builder.shape(data)
    if len(shape) != weight.dim():
        refuse(node, f"it reads a value of shape {shape} without an axis of examples")
    groups = call.pop("groups")
    padded_ahead = call.pop("padded_ahead")
    index = _offsets(shape[2:], weight.shape[2:], transposed, padded_ahead, builder.fixed(call))
    step = Weighted(
        builder.label(node, "weights"),
        builder.source(data),
        index,
        _grouped(weight, groups, transposed),
        None if bias is None else _array(bias),
        learnt,
    )
    return builder.add(step)


def _module_call(node: fx.Node, builder: ProgramBuilder) -> dict[str, Any]:
    """The call that a module makes, as arguments of the functional form."""
    module = builder.module(node)
    if len(node.args) + len(node.kwargs) != 1:
        refuse(node, "it is given an output size")
    names = ("weight", "bias", "stride", "padding", "dilation", "groups")
    call = {name: getattr(module, name) for name in names}
    transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
    if transposed:
        call["output_padding"] = module.output_padding
    ahead = None
    if module.padding_mode != "zeros":
        ahead = (list(module._reversed_padding_repeated_twice), module.padding_mode)
        call["padding"] = 0
    data = node.args[0] if node.args else node.kwargs["input"]
    return {**call, "input": data, "transposed": transposed, "padded_ahead": ahead}


def _function_call(node: fx.Node) -> dict[str, Any]:
    transposed = node.target in _TRANSPOSED.values()
    names = _TRANSPOSED_NAMES if transposed else _CONVOLUTION_NAMES
    call = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    defaults = {"bias": None, "groups": 1}
    return {**defaults, **call, "transposed": transposed, "padded_ahead": None}


def _offsets(
    positions: tuple[int, ...],
    kernel: tuple[int, ...],
    transposed: bool,
    padded_ahead: tuple[list[int], str] | None,
    options: dict[str, Any],
) -> np.ndarray:
    """The position that each offset of the kernel reads: (offsets, new positions), -1 for none.

    Positions are labelled 1, 2, 3, ..., and convolved with a kernel for each offset that is 1 there
    and 0 elsewhere.
    """
    dims, offsets = len(kernel), int(np.prod(kernel))
    labels = torch.arange(1, int(np.prod(positions)) + 1, dtype=torch.float64)
    labels = labels.reshape(1, 1, *positions)
    if padded_ahead is not None:
        labels = F.pad(labels, padded_ahead[0], padded_ahead[1])
    units = torch.eye(offsets, dtype=torch.float64)
    shape = (1, offsets, *kernel) if transposed else (offsets, 1, *kernel)
    function = (_TRANSPOSED if transposed else _CONVOLUTIONS)[dims]
    found = function(labels, units.reshape(shape), **options)  # (1, offsets, new positions)
    return found.reshape(offsets, -1).round().long().numpy() - 1


def _grouped(weight: Tensor, groups: int, transposed: bool) -> np.ndarray:
    """The kernel as (groups, o, c * offsets)."""
    kernel = weight.flatten(2)
    if transposed:  # (c, o of a group, offsets)
        kernel = kernel.unflatten(0, (groups, -1)).transpose(1, 2)
    else:  # (o, c of a group, offsets)
        kernel = kernel.unflatten(0, (groups, -1))
    return _array(kernel.flatten(2))
