"""Normalisations: batch norm in evaluation mode, and those whose scale each example gives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from dualview.conversion.normal_form import Call
from dualview.path_kernel.addition_rules import entries_term, origin_of, shifted, sum_of
from dualview.path_kernel.axis_rules import reshaped
from dualview.path_kernel.factor_rules import constant_of, multiplied, times, times_pair
from dualview.path_kernel.setting import Setting, refuse
from dualview.path_kernel.spread import centred
from dualview.path_kernel.terms import Value


def batch_norm(node: fx.Node, call: Call, setting: Setting) -> Value:
    """Batch norm in evaluation mode: its scale if asked for, and its bias if biases are.

    So too before the first weight layer: its statistics belong to the network, not to the input.
    """
    value: Value = call["input"]
    module: Any = call.module
    if setting.batch_norm_scale:
        value = _normalised(node, value, module)
    if setting.biases and module.bias is not None:
        numbers = _by_channel(value, torch.arange(len(module.bias)))
        term = entries_term(node, value, numbers, origin_of(module.bias), setting)
        value = sum_of(node, value, value.with_terms([term]))
    return value


def _normalised(node: fx.Node, value: Value, module: Any) -> Value:
    if module.running_var is None:
        refuse(node, "its statistics are those of the batch, also in evaluation mode")
    gamma = 1.0 if module.weight is None else module.weight.detach()
    scale = gamma / torch.sqrt(module.running_var + module.eps)
    constant = constant_of(node, value, _by_channel(value, scale))
    return multiplied(value, constant, constant)


def _by_channel(value: Value, entries: Tensor) -> Tensor:
    """One entry a channel, so that it spreads over the other axes."""
    return entries.reshape(-1, *(1,) * (len(value.shape) - 1))


def layer_norm(node: fx.Node, call: Call, setting: Setting) -> Value:
    """The value less its mean over the last axes, times each example's scale, gamma, and beta."""
    value, sizes = call["input"], call["normalised"]
    axes = range(len(value.shape) - len(sizes), len(value.shape))
    if not axes or axes[0] < 0:
        refuse(node, "it normalises over the examples")
    value = value.with_terms([centred(term, list(axes)) for term in value.terms])
    value = times_pair(node, value, call["scale"])
    return _scaled_and_shifted(node, value, call["weight"], call["bias"], setting)


def group_centred(node: fx.Node, call: Call, setting: Setting) -> Value:
    """The value less the mean of each group of channels, and of each channel without groups."""
    value, groups = call["input"], call["groups"]
    shape = value.shape
    groups = shape[0] if groups is None else groups
    grouped = reshaped(node, value, (groups, shape[0] // groups, *shape[1:]))
    axes = list(range(1, len(grouped.shape)))
    return reshaped(
        node, grouped.with_terms([centred(term, axes) for term in grouped.terms]), shape
    )


def channel_affine(node: fx.Node, call: Call, setting: Setting) -> Value:
    """One number a channel that multiplies, and one that is added."""
    value: Value = call["input"]
    weight, bias = (
        None if call[name] is None else _by_channel(value, call[name])
        for name in ("weight", "bias")
    )
    return _scaled_and_shifted(node, value, weight, bias, setting)


def _scaled_and_shifted(
    node: fx.Node, value: Value, weight: Any, bias: Any, setting: Setting
) -> Value:
    if weight is not None:
        value = times(node, value, weight.detach())
    return shifted(node, value, bias, () if bias is None else bias.shape, setting)
