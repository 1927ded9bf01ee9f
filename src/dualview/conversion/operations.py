"""Which operations keep a network affine between its gates, and which cannot be taken apart.

An operation is accepted only if its key stands in one of these tables: refusing what is unknown is
what makes "the output equals the network's own" a promise. How a model spells an operation is
known in `dualview.conversion.spellings` alone.
"""

from __future__ import annotations

from dualview.conversion.spellings import modules_of

DENSE_MODULES = modules_of("linear")
CONVOLUTION_MODULES = modules_of("convolution")
WEIGHT_KEYS = frozenset({"linear", "convolution", "transposed convolution"})
WEIGHT_MODULES = modules_of("linear", "convolution", "transposed convolution")
BATCH_NORM_MODULES = modules_of("batch norm")
DROPOUT_MODULES = modules_of("dropout")

LINEAR = frozenset(
    [
        *("same", "copy", "dropout", "neg", "mean", "sum"),
        *("embedding", "batch norm", "group centred", "channel affine"),
        *("average pool", "adaptive average pool", "interpolate", "pad"),
        *("pixel shuffle", "pixel unshuffle", "channel shuffle"),
        *("patches", "sum of patches", "windows"),
        *("getitem", "chunk", "split", "unbind", "narrow", "select", "index select"),
        *("roll", "flip", "cat", "stack"),
        *("flatten", "unflatten", "reshape", "reshape as", "squeeze", "unsqueeze"),
        *("permute", "transpose", "movedim", "t"),
        *("expand", "expand as", "repeat", "tile"),
    ]
)
"""Affine in every tensor they take, however many depend on the input."""

ADDITIVE = frozenset({"add", "sub"})
PRODUCTS = WEIGHT_KEYS | {"mul", "matmul", "einsum"}
"""Linear in each factor: at most one factor may depend on the input."""

QUOTIENT = "div"
"""Linear in its first argument only."""

LINEAR_MODULES = modules_of(*(key for key in sorted(LINEAR | WEIGHT_KEYS) if key != "embedding"))
"""Modules that are affine in their input in evaluation mode, by exact type."""

TENSOR_KEYS = LINEAR | ADDITIVE | PRODUCTS | {QUOTIENT, "layer norm", "softmax", "attention"}
"""What makes tensors of tensors."""

SEVERAL = frozenset({"chunk", "split", "unbind"})
"""What makes a tuple of tensors."""

SHAPE_KEYS = frozenset({"size", "dim", "numel", "device number"})
SHAPE_ATTRIBUTES = frozenset({"shape", "ndim", "device", "dtype"})

RANDOM_NAMES = frozenset(
    [
        *("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like"),
        *("bernoulli", "normal", "multinomial", "poisson", "empty", "empty_like"),
    ]
)
"""Functions and methods whose value is random, or not defined."""

ALLOCATING = frozenset(
    [
        *("copy", "add", "sub", "mul", "div", "neg", "mean", "sum"),
        *("linear", "matmul", "convolution", "transposed convolution", "embedding"),
        *("batch norm", "group centred", "layer norm", "softmax", "attention"),
        *("average pool", "adaptive average pool", "interpolate", "pad"),
        *("pixel shuffle", "pixel unshuffle", "patches", "sum of patches"),
        *("index select", "roll", "flip", "cat", "stack", "amax", "max"),
    ]
)
"""What shares no memory with its inputs; any other function or method may."""

RESHAPING = frozenset(
    [
        *("same", "flatten", "unflatten", "reshape", "squeeze", "unsqueeze"),
        *("permute", "transpose", "movedim", "t"),
    ]
)
"""What leaves every entry as it is, and may stand between a softmax and the product with the values
that it weights."""

BATCH_AXIS_MOVERS = frozenset(
    [
        *("squeeze", "unsqueeze", "unflatten", "expand", "expand as", "reshape as", "attribute"),
        *("permute", "transpose", "t", "movedim", "roll", "flip", "tile", "repeat"),
        *("select", "narrow", "unbind", "chunk", "split", "windows", "index select", "getitem"),
        *("stack", "cat", "einsum", "matmul", "sum", "mean"),
    ]
)
"""What may touch the axis of examples."""

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
    "take the values alone, along axes of an example (h.amax(1)), with an "
    "example_input; spell a maximum with 0 as torch.relu",
)

REASONS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(["layernorm", "group_norm", "instance_norm"], _NORMALISATION),
    **dict.fromkeys([f"instancenorm{dims}d" for dims in (1, 2, 3)], _NORMALISATION),
    **dict.fromkeys(["norm", "var", "std"], _NORMALISATION),
    **dict.fromkeys(["logsoftmax", "log_softmax", "softmin", "logsumexp"], _SQUASHING),
    **dict.fromkeys(["threshold", "rrelu", "log", "sqrt", "pow"], _SQUASHING),
    "softmax": _SOFTMAX,
    "scaled_dot_product_attention": _DOT_PRODUCT,
    "multiheadattention": _ATTENTION,
    **dict.fromkeys(["transformer", "transformerencoder", "transformerdecoder"], _TRANSFORMER),
    **dict.fromkeys(["transformerencoderlayer", "transformerdecoderlayer"], _TRANSFORMER),
    "bilinear": _PRODUCT_OF_STREAMS,
    **dict.fromkeys(RANDOM_NAMES, _RANDOM),
    "batch_norm": _FUNCTIONAL_BATCH_NORM,
    **dict.fromkeys(["where", "gt", "ge", "lt", "le", "sign", "heaviside"], _CHOICE),
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
