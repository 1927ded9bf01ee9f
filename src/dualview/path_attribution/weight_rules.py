"""Layers with weights as steps: dense, convolutional, transposed; as modules and as functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.nn import functional as F

from dualview.conversion.normal_form import linear_call, normal_call
from dualview.conversion.source_lines import as_nodes
from dualview.path_attribution.building import ProgramBuilder, layer_name, refuse, without_example
from dualview.path_attribution.steps import Gather, Label, Part, Sum, Weighted

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def dense(node: fx.Node, builder: ProgramBuilder) -> int:
    """A dense layer or a product with a constant matrix, over one axis."""
    call = normal_call(node)
    found = linear_call(call, builder.is_data, builder.fixed)
    if found is None:
        refuse(node, "it is not the product of an activation and a constant matrix")
    (product, axis) = found
    weight, bias = _fixed(node, builder, product["weight"], product["bias"])
    given = call["weight"] if call.key == "linear" else tuple(node.all_input_nodes)
    learnt = call.module is not None or any(
        builder.is_learnt(n) for n in as_nodes(given) if not builder.is_data(n)
    )
    return _dense(node, builder, product["input"], (weight, bias), axis, learnt)


def _fixed(node: fx.Node, builder: ProgramBuilder, *tensors: Any) -> list[Any]:
    if any(builder.is_data(tensor) for tensor in tensors):
        refuse(node, "its weight or bias depends on the input")
    return [builder.fixed(tensor) for tensor in tensors]


def _dense(
    node: fx.Node,
    builder: ProgramBuilder,
    data: Any,
    layer: tuple[Tensor, Tensor | None],
    axis: int,
    learnt: bool,
) -> int:
    """Steps of a dense layer over one axis, which is moved to the front and back."""
    weight, bias = layer
    outputs, inputs = weight.shape
    shape = builder.shape(data)
    lead = np.delete(shape, axis).tolist()
    positions = int(np.prod(lead))
    source = builder.source(data)
    name = layer_name(node)
    if positions > 1:  # (..., inputs, ...) -> (inputs, lead)
        moved = Label(name, "map", (inputs, *without_example(tuple(lead))))
        entries = np.moveaxis(np.arange(inputs * positions).reshape(shape), axis, 0)
        source = builder.add(Sum(moved, (Part(source, Gather(1, entries.reshape(-1, 1))),)))
    step = Weighted(
        Label(name, "weights", (outputs, *without_example(tuple(lead)))),
        source,
        np.arange(positions)[None],
        _array(weight)[None],
        None if bias is None else _array(bias),
        learnt,
    )
    result = builder.add(step)
    if positions > 1:
        entries = np.moveaxis(np.arange(outputs * positions).reshape(outputs, *lead), 0, axis)
        back = Part(result, Gather(1, entries.reshape(-1, 1)))
        result = builder.add(Sum(builder.label(node), (back,)))
    return result


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def convolution(node: fx.Node, builder: ProgramBuilder) -> int:
    """A convolution or a transposed one, of any stride, padding, dilation and groups."""
    found = normal_call(node)
    call = dict(found.arguments)
    data, output_size = call.pop("input"), call.pop("output_size", None)
    if output_size is not None:
        refuse(node, "it is given an output size")
    learnt = found.module is not None or builder.is_learnt(call["weight"])
    weight, bias = _fixed(node, builder, call.pop("weight"), call.pop("bias"))
    transposed = found.key == "transposed convolution"
    shape = builder.shape(data)
    if len(shape) != weight.dim():
        refuse(node, f"it reads a value of shape {shape} without an axis of examples")
    groups, ahead = call.pop("groups"), None  # the offsets are found with one channel
    if call.pop("padding_mode", "zeros") != "zeros":
        module: Any = found.module
        ahead = (list(module._reversed_padding_repeated_twice), module.padding_mode)
        call["padding"] = 0
    index = _offsets(shape[2:], weight.shape[2:], transposed, ahead, builder.fixed(call))
    step = Weighted(
        builder.label(node, "weights"),
        builder.source(data),
        index,
        _grouped(weight, groups, transposed),
        None if bias is None else _array(bias),
        learnt,
    )
    return builder.add(step)


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
