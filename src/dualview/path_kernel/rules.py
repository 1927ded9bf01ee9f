"""The table of rules: what each operation of a weights network does to the covariance.

Every rule takes the node, its arguments (a `Value` where the graph has a tensor that depends on the
example, plain Python values and tensors elsewhere) and the `Setting`, and returns the node's value.
Source: theory, section 4.5.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from dualview.conversion import operations as ops
from dualview.conversion.gates import apply_gate
from dualview.conversion.pooling import replay_switch
from dualview.conversion.weights_graph import one_row_of_ones, spread_over_batch
from dualview.path_kernel import addition_rules as additions
from dualview.path_kernel import channel_rules as channels
from dualview.path_kernel import factor_rules as factors
from dualview.path_kernel import position_rules as positions
from dualview.path_kernel import weight_rules as weights
from dualview.path_kernel.setting import Rule

RULES: dict[Any, Rule] = {
    nn.Linear: weights.dense,
    **dict.fromkeys(ops.CONVOLUTION_MODULES, weights.convolution),
    **dict.fromkeys([F.conv1d, F.conv2d, F.conv3d], weights.fixed_convolution),
    **dict.fromkeys(ops.BATCH_NORM_MODULES, weights.batch_norm),
    **dict.fromkeys((*ops.DROPOUT_MODULES, nn.Identity), factors.identity),
    **dict.fromkeys(
        [m for m in ops.LINEAR_MODULES if "AvgPool" in m.__name__ or "Upsampl" in m.__name__],
        positions.pooling_module,
    ),
    **dict.fromkeys(
        [m for m in ops.LINEAR_MODULES if m.__name__[:-2].endswith("Pad")], positions.padding_module
    ),
    nn.Flatten: positions.flatten_module,
    apply_gate: factors.gate,
    replay_switch: positions.max_pool_switch,
    one_row_of_ones: factors.row_of_ones,
    **dict.fromkeys([spread_over_batch, *ops.DROPOUT_FUNCTIONS, torch.clone], factors.identity),
    **dict.fromkeys([operator.mul, torch.mul, torch.multiply, "mul", "multiply"], factors.product),
    **dict.fromkeys([*ops.QUOTIENT_FUNCTIONS, *ops.QUOTIENT_METHODS], factors.quotient),
    **dict.fromkeys([operator.neg, torch.neg, "neg"], factors.negation),
    **dict.fromkeys([*ops.ADDITIVE_FUNCTIONS, *ops.ADDITIVE_METHODS], additions.addition),
    **dict.fromkeys(
        [
            F.avg_pool1d,
            F.avg_pool2d,
            F.avg_pool3d,
            F.adaptive_avg_pool1d,
            F.adaptive_avg_pool2d,
            F.adaptive_avg_pool3d,
            F.interpolate,
        ],
        positions.pooling_function,
    ),
    F.pad: channels.padding_function,
    **dict.fromkeys([torch.mean, torch.sum, "mean", "sum"], positions.mean),
    operator.getitem: channels.index,
    **dict.fromkeys([torch.chunk, "chunk"], channels.chunk),
    **dict.fromkeys([torch.split, "split"], channels.split),
    **dict.fromkeys([torch.narrow, "narrow"], channels.narrow),
    **dict.fromkeys([torch.roll, "roll"], channels.roll),
    **dict.fromkeys([torch.flip, "flip"], channels.flip),
    nn.ChannelShuffle: channels.channel_shuffle,
    **dict.fromkeys([torch.cat, torch.concat], channels.concatenation),
    **dict.fromkeys([torch.flatten, "flatten"], positions.flatten),
    **dict.fromkeys([torch.reshape, "view", "reshape"], positions.view),
    **dict.fromkeys([torch.squeeze, "squeeze"], positions.squeeze),
    **dict.fromkeys(["size", "dim", getattr], positions.shape_query),
    **dict.fromkeys(["contiguous", "clone", "detach", "float", "double", "to"], factors.identity),
}
"""Module type, function or method name -> rule."""
