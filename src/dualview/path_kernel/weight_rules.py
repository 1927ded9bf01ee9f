"""Layers with weights: what they do to the covariance of their input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from dualview.conversion.normal_form import Call, linear_call, normal_call
from dualview.conversion.pooling import each_axis
from dualview.conversion.source_lines import as_nodes
from dualview.conversion.spellings import functional
from dualview.path_kernel.addition_rules import bias_moments, entries_of, reads_parameter, shifted
from dualview.path_kernel.axis_rules import map_all
from dualview.path_kernel.contraction import mean_along
from dualview.path_kernel.layout import Layout
from dualview.path_kernel.position_rules import attention
from dualview.path_kernel.positions import LEADING, apply_map, window_sum
from dualview.path_kernel.rows import Windows, by_rows, may_go_by_rows
from dualview.path_kernel.scale import LogScale, balanced, summed
from dualview.path_kernel.setting import Pair, Setting, refuse
from dualview.path_kernel.terms import Term, Value, one_term, own_channels


def fan_in(module: nn.Module) -> int:
    """Number of weights that one output unit of a dense or convolutional layer reads."""
    weight: Any = module.weight
    return math.prod(weight.shape[1:])


def dense(node: fx.Node, call: Call, setting: Setting) -> Value:
    """A dense layer over one axis; or a product with attention weights."""
    found = linear_call(call, _depends, _constant)
    if found is None:
        if call.key == "matmul":
            return attention(node, call, setting)
        return refuse(node, "it is no product of a value and a matrix")
    product, axis = found
    value, weight, bias = (product[name] for name in ("input", "weight", "bias"))
    axis += len(value.shape)
    if axis < 0:
        refuse(node, "it sums over the examples")
    if not _is_drawn(node, call):
        return _fixed_matrix(node, call, value, weight, axis, bias, setting)
    kernel, log_scale = mean_along(value, axis)
    shape = [*value.shape]
    shape[axis] = len(weight)
    made = _weight_term(node, kernel, log_scale, shape, axis, weight.shape[1], bias, setting)
    return _with_bias(node, call, value.with_terms([made], shape), bias, axis, setting)


def _depends(argument: Any) -> bool:
    return isinstance(argument, Value | Pair)


def _constant(argument: Any) -> Tensor:
    return torch.as_tensor(argument)


def _is_drawn(node: fx.Node, call: Call) -> bool:
    """Whether the weights are parameters; those that are made of one otherwise are refused."""
    if call.module is not None:
        return True
    given = normal_call(node)
    if call.key in ("matmul", "einsum"):
        nodes = [n for n in node.all_input_nodes if reads_parameter(n) and _is_constant(n)]
    else:
        nodes = [n for n in as_nodes(given["weight"]) if reads_parameter(n)]
    if not nodes:
        return False
    entries = entries_of(nodes[0])
    if entries is None or len(entries[0].unique()) < entries[0].numel():
        refuse(node, "its weights are made of a parameter by more than a change of shape")
    return True


def _is_constant(node: fx.Node) -> bool:
    """Whether no example reaches a node."""
    return node.op != "placeholder" and all(_is_constant(n) for n in node.all_input_nodes)


def _with_bias(
    node: fx.Node, call: Call, value: Value, bias: Any, axis: int, setting: Setting
) -> Value:
    """The value plus a functional layer's bias, one number for each entry of an axis."""
    if call.module is not None:  # whose bias is in the layer's own term
        return value
    return shifted(node, value, bias, (-1, *(1,) * (len(value.shape) - axis - 1)), setting)


def _fixed_matrix(
    node: fx.Node, call: Call, value: Value, weight: Tensor, axis: int, bias: Any, setting: Setting
) -> Value:
    """A product with a constant matrix: it mixes entries, and draws nothing."""
    matrix = weight.detach().to(value.like)

    def multiply(examples: Tensor) -> Tensor:
        return F.linear(examples.movedim(1 + axis, -1), matrix).movedim(-1, 1 + axis)

    made = map_all(value, multiply, ("matrix", node))
    return _with_bias(node, call, made, bias, axis, setting)


def convolution(node: fx.Node, call: Call, setting: Setting) -> Value:
    """A convolution: channels are summed within groups, and windows over both positions at once."""
    value, weight = call["input"], call["weight"]
    dims = weight.dim() - 2
    if not isinstance(value, Value) or len(value.shape) != dims + 1:
        refuse(node, f"it reads a value of shape (n, {', '.join(map(str, value.shape))})")
    if not _is_drawn(node, call):
        return _fixed_convolution(node, call, setting)
    sizes, strides, dilations = (
        each_axis(option, dims) for option in (weight.shape[2:], call["stride"], call["dilation"])
    )
    margins, mode = _margins(call, sizes, dilations)
    if may_go_by_rows(value, call["groups"], mode):
        windows = Windows(sizes, strides, dilations, margins, call["groups"])
        kernel, log_scale = by_rows(value, windows)
    else:
        total, log_scale = mean_along(value, 0, call["groups"])
        if any(margins):

            def pad(array: Tensor) -> Tensor:
                return F.pad(array.unsqueeze(1), margins, mode).squeeze(1)

            total = apply_map(total, pad, dims)
        total = window_sum(total, sizes, strides, dilations)
        kernel = total / math.prod(sizes)
    shape = [len(weight), *kernel.shape[LEADING : LEADING + dims]]
    inputs = math.prod(weight.shape[1:])
    made = _weight_term(node, kernel, log_scale, shape, 0, inputs, call["bias"], setting)
    return _with_bias(node, call, value.with_terms([made], shape), call["bias"], 0, setting)


def _margins(call: Call, sizes: Sequence[int], dilations: Sequence[int]) -> tuple[list[int], str]:
    """Padding as `F.pad` takes it, and its mode."""
    mode = call.get("padding_mode", "zeros")
    padding = call["padding"]
    if padding == "valid":
        pairs = [(0, 0)] * len(sizes)
    elif padding == "same":
        reach = [d * (s - 1) for d, s in zip(dilations, sizes, strict=True)]
        pairs = [(r // 2, r - r // 2) for r in reach]
    else:
        pairs = [(p, p) for p in each_axis(padding, len(sizes))]
    widths = [width for pair in reversed(pairs) for width in pair]
    return widths, "constant" if mode == "zeros" else mode


def transposed_convolution(node: fx.Node, call: Call, setting: Setting) -> Value:
    """A transposed convolution: each offset of its kernel puts positions in their places."""
    value, weight, groups = call["input"], call["weight"], call["groups"]
    dims = weight.dim() - 2
    if not isinstance(value, Value) or len(value.shape) != dims + 1 or call.get("output_size"):
        refuse(node, "it reads no image, or is given an output size")
    if not _is_drawn(node, call):
        return _fixed_convolution(node, call, setting)
    total, log_scale = mean_along(value, 0, groups)
    options = {
        name: each_axis(call[name], dims)
        for name in ("stride", "padding", "output_padding", "dilation")
    }
    function, sizes = functional(call.key, dims), tuple(weight.shape[2:])
    kernel: Any = 0
    for offset in itertools.product(*map(range, sizes)):
        unit = total.new_zeros(1, 1, *sizes)
        unit[(0, 0, *offset)] = 1

        def place(array: Tensor, unit: Tensor = unit) -> Tensor:
            return function(array.unsqueeze(1), unit, **options).squeeze(1)

        kernel = kernel + apply_map(total, place, dims)
    kernel = kernel / math.prod(sizes)
    shape = [weight.shape[1] * groups, *kernel.shape[LEADING : LEADING + dims]]
    inputs = weight.shape[0] // groups * math.prod(sizes)
    made = _weight_term(node, kernel, log_scale, shape, 0, inputs, call["bias"], setting)
    return _with_bias(node, call, value.with_terms([made], shape), call["bias"], 0, setting)


def _fixed_convolution(node: fx.Node, call: Call, setting: Setting) -> Value:
    """A convolution with constant weights: it mixes entries, and draws nothing."""
    value, weight = call["input"], call["weight"].detach().to(call["input"].like)
    function = functional(call.key, weight.dim() - 2)
    names = ("stride", "padding", "dilation", "groups", "output_padding")
    options = {name: call[name] for name in names if name in call.arguments}

    def convolve(examples: Tensor) -> Tensor:
        return function(examples, weight, **options)

    made = map_all(value, convolve, ("convolved", node))
    return _with_bias(node, call, made, call["bias"], 0, setting)


def _weight_term(
    node: fx.Node,
    kernel: Tensor,
    log_scale: LogScale,
    shape: Sequence[int],
    axis: int,
    inputs: int,
    bias: Any,
    setting: Setting,
) -> Term:
    """The weight layer's term from the mean over its inputs; theory, end of section 4.5.

    The kernel is (s, n1, n2, groups, *rest, *rest), the rest being all axes but that of outputs.
    """
    variance = 1 / inputs if setting.variances is None else setting.variances[node.name]
    log_scale = log_scale + math.log(inputs * variance)
    if setting.ntk:
        npk = kernel[:1]
        ntk = npk / variance if len(kernel) == 1 else kernel[1:] + npk / variance
        kernel = torch.cat([npk, ntk])
    if setting.biases and bias is not None and node.op == "call_module":
        added = kernel.new_tensor(bias_moments(setting)).reshape(-1, *(1,) * (kernel.dim() - 1))
        kernel, log_scale = summed([(kernel, log_scale), (added, 0.0)])
    kernel, log_scale = balanced(kernel, log_scale)
    layout = Layout.of(shape, (axis,))
    kernel = kernel.reshape(*kernel.shape[:LEADING], *layout.positions, *layout.positions)
    return Term(
        kernel, None, None, log_scale, node, own_channels(layout.channels), layout, root=node
    )


def embedding(node: fx.Node, call: Call, setting: Setting) -> Value:
    """Tokens looked up in a table, whose rows are where paths begin: constants, not drawn."""
    tokens, weight = call["input"], call["weight"].detach()
    if not isinstance(tokens, Pair):
        refuse(node, "it looks up what is no part of the input")
    left = F.embedding(tokens.left, weight)
    right = left if tokens.left is tokens.right else F.embedding(tokens.right, weight)
    return Value((one_term(left, right),), tuple(left.shape[1:]), len(left))
