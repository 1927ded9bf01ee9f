"""Which operations keep a network affine between its gates, and which cannot be taken apart.

An operation is accepted only if it stands in one of these tables: refusing what is unknown is what
makes "the output equals the network's own" a promise.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from dualview.conversion.normalisation import channel_affine, group_centred

Target = Callable[..., Any]

DENSE_MODULES = (nn.Linear,)
CONVOLUTION_MODULES = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
WEIGHT_MODULES = (
    *DENSE_MODULES,
    *CONVOLUTION_MODULES,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
BATCH_NORM_MODULES = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
DROPOUT_MODULES = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)

LINEAR_MODULES: tuple[type[nn.Module], ...] = (
    *WEIGHT_MODULES,
    *BATCH_NORM_MODULES,
    *DROPOUT_MODULES,
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.ZeroPad1d,
    nn.ZeroPad2d,
    nn.ZeroPad3d,
    nn.ConstantPad1d,
    nn.ConstantPad2d,
    nn.ConstantPad3d,
    nn.CircularPad1d,
    nn.CircularPad2d,
    nn.CircularPad3d,
    nn.ReflectionPad1d,
    nn.ReflectionPad2d,
    nn.ReflectionPad3d,
    nn.ReplicationPad1d,
    nn.ReplicationPad2d,
    nn.ReplicationPad3d,
    nn.Upsample,
    nn.UpsamplingNearest2d,
    nn.UpsamplingBilinear2d,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.ChannelShuffle,
    nn.Fold,
    nn.Unfold,
)
"""Modules that are affine in their input in evaluation mode, by exact type."""

_MOVING_METHODS = frozenset(
    [
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "permute",
        "transpose",
        "t",
        "squeeze",
        "unsqueeze",
        "narrow",
        "select",
        "expand",
        "contiguous",
        "detach",
        "swapaxes",
        "swapdims",
        "movedim",
        "moveaxis",
        "unbind",
        "chunk",
        "split",
        "to",
        "type_as",
        "float",
        "double",
        "half",
        "bfloat16",
        "unfold",
        "view_as",
        "reshape_as",
        "expand_as",
    ]
)

LINEAR_ATTRIBUTES = frozenset({"T", "mT"})
"""Tensor attributes that are linear in the tensor."""

LINEAR_METHODS = _MOVING_METHODS | frozenset(
    ["mean", "sum", "neg", "clone", "cpu", "cuda", "roll", "flip", "tile", "repeat"]
)
"""Tensor methods that are linear in the tensor they are called on."""

ADDITIVE_METHODS = frozenset({"add", "sub"})
PRODUCT_METHODS = frozenset({"mul", "multiply", "matmul", "mm", "bmm"})
QUOTIENT_METHODS = frozenset({"div", "divide", "true_divide"})
SHAPE_METHODS = frozenset({"size", "dim", "numel", "ndimension", "get_device"})
SHAPE_ATTRIBUTES = frozenset({"shape", "ndim", "device", "dtype"})

LINEAR_FUNCTIONS: frozenset[Target] = frozenset(
    {
        F.embedding,
        group_centred,
        channel_affine,
        torch.flatten,
        torch.reshape,
        torch.permute,
        torch.transpose,
        torch.squeeze,
        torch.unsqueeze,
        torch.narrow,
        torch.chunk,
        torch.split,
        torch.unbind,
        torch.movedim,
        torch.swapaxes,
        torch.swapdims,
        torch.moveaxis,
        torch.unflatten,
        torch.select,
        torch.tile,
        torch.t,
        torch.broadcast_to,
        torch.concatenate,
        torch.index_select,
        operator.getitem,
        F.dropout,
        F.dropout1d,
        F.dropout2d,
        F.dropout3d,
        F.avg_pool1d,
        F.avg_pool2d,
        F.avg_pool3d,
        F.adaptive_avg_pool1d,
        F.adaptive_avg_pool2d,
        F.adaptive_avg_pool3d,
        F.pad,
        F.interpolate,
        F.upsample,
        F.pixel_shuffle,
        F.pixel_unshuffle,
        F.fold,
        F.unfold,
        torch.cat,
        torch.concat,
        torch.stack,
        torch.mean,
        torch.sum,
        torch.neg,
        torch.roll,
        torch.flip,
        torch.clone,
        operator.neg,
        operator.pos,
    }
)
"""Functions that are affine in every tensor they take, however many depend on the input."""

ADDITIVE_FUNCTIONS: frozenset[Target] = frozenset(
    {operator.add, operator.sub, torch.add, torch.sub}
)
WEIGHT_FUNCTIONS: frozenset[Target] = frozenset(
    {
        F.linear,
        F.conv1d,
        F.conv2d,
        F.conv3d,
        F.conv_transpose1d,
        F.conv_transpose2d,
        F.conv_transpose3d,
    }
)
PRODUCT_FUNCTIONS: frozenset[Target] = WEIGHT_FUNCTIONS | frozenset(
    {
        operator.mul,
        operator.matmul,
        torch.mul,
        torch.multiply,
        torch.matmul,
        torch.mm,
        torch.bmm,
        torch.einsum,
    }
)
"""Functions that are linear in each factor: at most one factor may depend on the input."""

RANDOM_NAMES = frozenset(
    [
        "rand",
        "randn",
        "randint",
        "randperm",
        "rand_like",
        "randn_like",
        "randint_like",
        "bernoulli",
        "normal",
        "multinomial",
        "poisson",
        "empty",
        "empty_like",
    ]
)
"""Functions and methods whose value is random, or not defined."""

QUOTIENT_FUNCTIONS: frozenset[Target] = frozenset(
    {operator.truediv, torch.div, torch.true_divide, torch.divide}
)
"""Functions that are linear in their first argument only."""

_NEW_MEMORY: frozenset[Target] = frozenset(
    {
        torch.cat,
        torch.concat,
        torch.stack,
        torch.mean,
        torch.sum,
        torch.neg,
        torch.clone,
        torch.roll,
        torch.flip,
        operator.neg,
        F.interpolate,
        F.avg_pool1d,
        F.avg_pool2d,
        F.avg_pool3d,
        F.layer_norm,
        torch.layer_norm,
        F.softmax,
        torch.softmax,
        F.scaled_dot_product_attention,
    }
)
ALLOCATING_FUNCTIONS: frozenset[Target] = (
    ADDITIVE_FUNCTIONS | (PRODUCT_FUNCTIONS - {torch.einsum}) | QUOTIENT_FUNCTIONS | _NEW_MEMORY
)
"""Functions whose result shares no memory with their inputs; any other may."""

ALLOCATING_METHODS = (
    ADDITIVE_METHODS
    | PRODUCT_METHODS
    | QUOTIENT_METHODS
    | frozenset({"mean", "sum", "neg", "clone", "roll", "flip", "softmax"})
)
"""Methods whose result shares no memory with their tensor; any other may."""

VIEW_MODULES: tuple[type[nn.Module], ...] = (
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    nn.ChannelShuffle,
    *DROPOUT_MODULES,
)
"""Modules whose result may share memory with their input."""

LAYER_NORM_FUNCTIONS: frozenset[Target] = frozenset({F.layer_norm, torch.layer_norm})
SOFTMAX_FUNCTIONS: frozenset[Target] = frozenset({F.softmax, torch.softmax})
MATRIX_PRODUCT_FUNCTIONS: frozenset[Target] = frozenset(
    {operator.matmul, torch.matmul, torch.bmm, torch.einsum}
)
MATRIX_PRODUCT_METHODS = frozenset({"matmul", "bmm"})
RESHAPING = frozenset(
    [
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "permute",
        "transpose",
        "swapaxes",
        "movedim",
        "squeeze",
        "unsqueeze",
        "contiguous",
    ]
)
"""What may stand between a softmax and the product with the values that it weights, by name."""

DROPOUT_FUNCTIONS: dict[Target, type[nn.Module]] = {
    F.dropout: nn.Dropout,
    F.dropout1d: nn.Dropout1d,
    F.dropout2d: nn.Dropout2d,
    F.dropout3d: nn.Dropout3d,
}

BATCH_AXIS_MOVERS = frozenset(
    [
        "squeeze",
        "unflatten",
        "expand",
        "getattr",
        "permute",
        "transpose",
        "t",
        "swapaxes",
        "swapdims",
        "movedim",
        "moveaxis",
        "roll",
        "flip",
        "tile",
        "repeat",
        "select",
        "narrow",
        "unbind",
        "chunk",
        "split",
        "unfold",
        "broadcast_to",
        "concatenate",
        "index_select",
        "getitem",
        "stack",
        "cat",
        "concat",
        "einsum",
        "bmm",
        "mm",
        "sum",
        "mean",
        "unsqueeze",
    ]
)
"""Operations that may touch the axis of examples, by name."""

_NORMALISATION = (
    "its statistics depend on the example, so it multiplies by a number that no gate supplies",
    "use LayerNorm, GroupNorm, RMSNorm or InstanceNorm without running statistics, whose scales "
    "are replayed as gates are; or batch norm, a fixed affine map in evaluation mode",
)
_SQUASHING = (
    "it is no elementwise activation with a slope at 0, so it is not a bias and a gate",
    "use one that is (ReLU, GELU, tanh, softplus, ...); if it only turns logits into "
    "probabilities, let it end the model",
)
_ATTENTION = (
    "as it is called here its attention weights cannot be told from its values",
    "call it without masks, add_bias_kv and add_zero_attn, for its first output alone; or write it "
    "out with nn.Linear layers and F.scaled_dot_product_attention, which takes masks",
)
_TRANSFORMER = (
    "torch.fx does not look into it, so its attention weights cannot be told from its values",
    "write its layers out with nn.LayerNorm, nn.MultiheadAttention and nn.Linear",
)
_DOT_PRODUCT = (
    "with dropout (dropout_p) its two networks would draw different masks, and with enable_gqa its "
    "heads share keys, for which there is no rule",
    "leave both out, or write it as softmax(scores), nn.Dropout and a product with the values",
)
_SOFTMAX = (
    "it is not self-gated, and it is no attention weight: that is a softmax over a given axis "
    "other than 0 which multiplies values (softmax(scores) @ values), at most with dropout or "
    "changes of shape between, and is used for nothing else",
    "write attention in that form; return logits and turn them into probabilities outside",
)
_PRODUCT_OF_STREAMS = (
    "it mixes two values that both depend on the input in a way that no gate describes",
    "leave it out, or write it with products of which one factor is a softmax",
)
_CLIPPING = (
    "it clips its input by value",
    "spell a clip from below at 0 as torch.relu, and a clip to [0, 6] as F.relu6",
)
_RANDOM = (
    "its value is random, so the gating and the weights network would draw different ones",
    "use nn.Dropout, or add the noise outside the model",
)
_FUNCTIONAL_BATCH_NORM = (
    "a functional batch norm does not follow the network's mode",
    "pass an example_input, with mode='evaluation' if it stays as it is in training mode; or use "
    "nn.BatchNorm1d, nn.BatchNorm2d or nn.BatchNorm3d",
)
_CHOICE = (
    "it chooses by value, and the choice is not a gate that the gating network could supply",
    "spell the activation as torch.relu, F.leaky_relu or another self-gated one",
)
_MAXIMUM = (
    "it takes a maximum other than a max pool",
    "spell a pool as nn.MaxPool or nn.AdaptiveMaxPool, and a maximum with 0 as torch.relu",
)

REASONS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        [
            "layernorm",
            "instancenorm1d",
            "instancenorm2d",
            "instancenorm3d",
            "group_norm",
            "instance_norm",
        ],
        _NORMALISATION,
    ),
    **dict.fromkeys(
        [
            "logsoftmax",
            "log_softmax",
            "softmin",
            "threshold",
            "rrelu",
            "log",
            "sqrt",
            "pow",
            "logsumexp",
        ],
        _SQUASHING,
    ),
    "softmax": _SOFTMAX,
    "scaled_dot_product_attention": _DOT_PRODUCT,
    "multiheadattention": _ATTENTION,
    **dict.fromkeys(
        [
            "transformer",
            "transformerencoderlayer",
            "transformerencoder",
            "transformerdecoderlayer",
            "transformerdecoder",
        ],
        _TRANSFORMER,
    ),
    "bilinear": _PRODUCT_OF_STREAMS,
    **dict.fromkeys(RANDOM_NAMES, _RANDOM),
    "batch_norm": _FUNCTIONAL_BATCH_NORM,
    **dict.fromkeys(["where", "gt", "ge", "lt", "le", "sign", "heaviside"], _CHOICE),
    **dict.fromkeys(["norm", "var", "std"], _NORMALISATION),
    **dict.fromkeys(["clamp", "clip", "clamp_min", "clamp_max"], _CLIPPING),
    **dict.fromkeys(
        ["max", "amax", "min", "amin", "maximum", "minimum", "topk", "sort", "median"], _MAXIMUM
    ),
}
"""Lower-case name of an operation -> (why it is refused, the repair)."""

UNKNOWN = (
    "it is not in the table of operations known to be affine between gates",
    "rewrite it with layers and tensor operations that are (dualview.conversion.operations lists "
    "them)",
)
