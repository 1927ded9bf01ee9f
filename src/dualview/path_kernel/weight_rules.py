"""Weight layers and batch norms: what they do to the covariance of their input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from dualview.conversion.source_lines import module_of
from dualview.path_kernel.factor_rules import multiplied
from dualview.path_kernel.positions import LEADING, apply_map, window_sum
from dualview.path_kernel.setting import Arguments, Setting, refuse
from dualview.path_kernel.terms import Term, Value, channel_mean, diagonal_mean, some_tensor


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
    if setting.bias_variance > 0 and module.bias is not None:
        added_here = [setting.bias_variance, 1.0] if setting.ntk else [setting.bias_variance]
        shift = kernel.new_tensor(added_here) * math.exp(-log_scale)
        kernel = kernel + shift.reshape(-1, *(1,) * (kernel.dim() - 1))
    return Term(kernel, None, None, log_scale, node, frozenset({node}))


def batch_norm(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Batch norm in evaluation mode: its scale if asked for, and its bias if biases are."""
    value: Value = args[0]
    module: Any = module_of(node)
    if setting.batch_norm_scale:
        value = _normalised(node, value, module)
    if setting.bias_variance > 0 and module.bias is not None:
        value = replace(value, terms=(*value.terms, _bias_term(node, value, setting)))
    return value


def _normalised(node: fx.Node, value: Value, module: Any) -> Value:
    if module.running_var is None:
        refuse(node, "its statistics are those of the batch, also in evaluation mode")
    gamma = 1.0 if module.weight is None else module.weight.detach()
    scale = gamma / torch.sqrt(module.running_var + module.eps)
    scale = scale.to(some_tensor(value).dtype).reshape(1, -1, *(1,) * value.dims)
    scale = scale.expand(1, value.channels, *value.positions)
    return multiplied(value, scale, scale)


def _bias_term(node: fx.Node, value: Value, setting: Setting) -> Term:
    """One bias a channel, the same at every position, for every example."""
    moments = [setting.bias_variance, 1.0] if setting.ntk else [setting.bias_variance]
    like = some_tensor(value)
    kernel = like.new_tensor(moments).reshape(-1, 1, 1, 1, *(1,) * (2 * value.dims))
    kernel = kernel.expand(-1, -1, -1, -1, *value.positions, *value.positions)
    return Term(kernel, None, None, 0.0, node, frozenset({node}))
