"""Weight layers and batch norms: what they do to the covariance of their input."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from dualview.conversion.source_lines import module_of
from dualview.path_kernel.addition_rules import (
    bias_moments,
    entries_term,
    is_of_the_input,
    one_term,
    origin_of,
    reads_parameter,
    sum_of,
)
from dualview.path_kernel.factor_rules import constant_of, multiplied
from dualview.path_kernel.positions import LEADING, apply_map, window_sum
from dualview.path_kernel.rows import by_rows, may_go_by_rows
from dualview.path_kernel.scale import LogScale, balanced, summed
from dualview.path_kernel.setting import Arguments, Setting, refuse
from dualview.path_kernel.terms import (
    Term,
    Value,
    channel_mean,
    combined,
    diagonal_mean,
    own_channels,
    with_factors,
)


def fan_in(module: nn.Module) -> int:
    """Number of weights that one output unit of a dense or convolutional layer reads."""
    weight: Any = module.weight
    return math.prod(weight.shape[1:])


def dense(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """A dense layer: channels and the diagonal of the positions are summed."""
    value, module = args[0], module_of(node)
    if not value.flat and value.positions:  # its last axis is one of positions, be it of length 1
        refuse(node, "it is applied at every position of an image")
    kernel, log_scale = combined(value, lambda term: diagonal_mean(term, value))
    term = _weight_term(node, kernel, log_scale, setting)
    return Value((term,), module.out_features, ())  # type: ignore[arg-type]


def convolution(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """A convolution: channels are summed within groups, and windows over both positions at once."""
    value: Value = args[0]
    module: Any = module_of(node)
    dims = len(module.kernel_size)
    if value.flat or value.dims != dims:
        refuse(node, f"it reads a value with {value.dims} position axes")
    if may_go_by_rows(value, module):
        kernel, log_scale = by_rows(value, module)
    else:
        total, log_scale = combined(value, lambda term: channel_mean(term, value, module.groups))
        padding = list(module._reversed_padding_repeated_twice)
        if any(padding):
            mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
            total = apply_map(total, lambda image: F.pad(image, padding, mode), dims)
        total = window_sum(total, module.kernel_size, module.stride, module.dilation)
        kernel = total / math.prod(module.kernel_size)
    term = _weight_term(node, kernel, log_scale, setting)
    return Value((term,), module.out_channels, tuple(kernel.shape[LEADING : LEADING + dims]))


def fixed_convolution(
    node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting
) -> Value:
    """`F.conv2d` and the like with constant weights (a buffer), before the first weight layer.

    The input's own values, and gates and fixed maps of them, are not random: the convolution is
    applied to them as it stands. Behind a weight layer it would correlate the channels.
    """
    function: Any = node.target
    value: Value = args[0]
    given = node.args if "input" in node.kwargs else node.args[1:]
    nodes: dict[str, Any] = {**dict(zip(_OPTIONS, given, strict=False)), **node.kwargs}
    options = {**dict(zip(_OPTIONS, args[1:], strict=False)), **kwargs}
    weight, bias = options.pop("weight").detach(), options.pop("bias", None)
    if reads_parameter(nodes["weight"]):
        refuse(node, "its weights are a parameter given to a function, not to a module")
    if not is_of_the_input(value) or value.flat:
        refuse(node, "its weights are fixed, and mix what weights or biases made random")
    channels = torch.zeros(len(weight), dtype=torch.long)
    terms = tuple(
        replace(
            with_factors(term, lambda x: function(x, weight.to(x), **options)), channels=channels
        )
        for term in value.terms
    )
    assert terms[0].left is not None
    value = Value(terms, len(weight), tuple(terms[0].left.shape[2:]))
    if bias is None:
        return value
    if not reads_parameter(nodes["bias"]):
        shift = _by_feature(value, bias.detach())
        return sum_of(node, value, replace(value, terms=(_constant(node, value, shift),)))
    if setting.biases:
        refuse(node, "its bias is a parameter given to a function, not to a module")
    return value


_OPTIONS = ("weight", "bias", "stride", "padding", "dilation", "groups")


def _constant(node: fx.Node, like: Value, entries: Tensor) -> Term:
    spread = constant_of(node, like, entries)
    return one_term(spread, spread)


def _weight_term(node: fx.Node, kernel: Tensor, log_scale: LogScale, setting: Setting) -> Term:
    """The weight layer's term from the mean over its inputs; theory, end of section 4.5."""
    module: Any = module_of(node)
    inputs = fan_in(module)
    variance = 1 / inputs if setting.variances is None else setting.variances[node.name]
    log_scale = log_scale + math.log(inputs * variance)
    if setting.ntk:
        npk = kernel[:1]
        ntk = npk / variance if len(kernel) == 1 else kernel[1:] + npk / variance
        kernel = torch.cat([npk, ntk])
    if setting.biases and module.bias is not None:
        bias = kernel.new_tensor(bias_moments(setting)).reshape(-1, *(1,) * (kernel.dim() - 1))
        kernel, log_scale = summed([(kernel, log_scale), (bias, 0.0)])
    kernel, log_scale = balanced(kernel, log_scale)
    return Term(kernel, None, None, log_scale, node, own_channels(module.weight.shape[0]))


def batch_norm(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Batch norm in evaluation mode: its scale if asked for, and its bias if biases are.

    So too before the first weight layer: its statistics belong to the network, not to the input.
    """
    value: Value = args[0]
    module: Any = module_of(node)
    if setting.batch_norm_scale:
        value = _normalised(node, value, module)
    if setting.biases and module.bias is not None:
        numbers = _by_feature(value, torch.arange(len(module.bias)))
        term = entries_term(node, value, numbers, origin_of(module.bias), setting)
        value = sum_of(node, value, replace(value, terms=(term,)))
    return value


def _normalised(node: fx.Node, value: Value, module: Any) -> Value:
    if module.running_var is None:
        refuse(node, "its statistics are those of the batch, also in evaluation mode")
    gamma = 1.0 if module.weight is None else module.weight.detach()
    scale = gamma / torch.sqrt(module.running_var + module.eps)
    constant = constant_of(node, value, _by_feature(value, scale))
    return multiplied(value, constant, constant)


def _by_feature(value: Value, entries: Tensor) -> Tensor:
    """One entry a feature, so that it spreads over the positions of an image."""
    return entries if value.flat else entries.reshape(-1, *(1,) * value.dims)
