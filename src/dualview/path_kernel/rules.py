"""The table of rules: what each operation of a weights network does to the covariance.

A rule takes the node, its call in normal form (a `Value` where the graph has a tensor that depends
on the weights, a `Pair` for what depends on the example alone, plain Python values and tensors
elsewhere) and the `Setting`, and returns the node's value. Source: theory, sections 4.5 and 9.
"""

from __future__ import annotations

from torch import Tensor, fx
from torch.nn import functional as F

from dualview.conversion.normal_form import UNCHANGED, Call
from dualview.path_kernel import addition_rules as additions
from dualview.path_kernel import axis_rules as axes
from dualview.path_kernel import factor_rules as factors
from dualview.path_kernel import norm_rules as norms
from dualview.path_kernel import position_rules as positions
from dualview.path_kernel import weight_rules as weights
from dualview.path_kernel.setting import Rule, Setting, refuse
from dualview.path_kernel.terms import Value


def patches(node: fx.Node, call: Call, setting: Setting) -> Value:
    """`F.unfold`, `F.fold` and `Tensor.unfold`: entries are copied, and overlaps summed."""
    value: Value = call["input"]
    options = {name: option for name, option in call.arguments.items() if name != "input"}
    if call.key == "windows":
        dimension = options["dimension"] % (1 + len(value.shape))
        if dimension == 0:
            refuse(node, "it cuts the examples into windows")

        def cut(examples: Tensor) -> Tensor:
            return examples.unfold(dimension, options["size"], options["step"])

        return axes.map_all(value, cut, ("windows", repr(options)))
    function = F.unfold if call.key == "patches" else F.fold

    def move(examples: Tensor) -> Tensor:
        return function(examples, **options)

    return axes.map_all(value, move, (call.key, repr(options)))


RULES: dict[str, Rule] = {
    "linear": weights.dense,
    "matmul": weights.dense,
    "einsum": weights.dense,
    "convolution": weights.convolution,
    "transposed convolution": weights.transposed_convolution,
    "embedding": weights.embedding,
    "batch norm": norms.batch_norm,
    "replayed layer norm": norms.layer_norm,
    "group centred": norms.group_centred,
    "channel affine": norms.channel_affine,
    "gate": factors.gate,
    **dict.fromkeys(UNCHANGED, factors.identity),
    "spread": factors.spread_row,
    "ones": factors.row_of_ones,
    "mul": factors.product,
    "div": factors.quotient,
    "neg": factors.negation,
    **dict.fromkeys(("add", "sub"), additions.addition),
    **dict.fromkeys(("cat", "stack"), additions.concatenation),
    "pad": additions.padding,
    **dict.fromkeys(("average pool", "adaptive average pool"), positions.pooling),
    "interpolate": positions.interpolation,
    **dict.fromkeys(("mean", "sum"), positions.mean),
    "switch": positions.max_pool_switch,
    "getitem": axes.index,
    **dict.fromkeys(("chunk", "split", "unbind"), axes.pieces),
    "narrow": axes.narrow,
    "select": axes.select,
    "index select": axes.index_select,
    "roll": axes.roll,
    "flip": axes.flip,
    "channel shuffle": axes.channel_shuffle,
    **dict.fromkeys(("repeat", "tile"), axes.repeat),
    **dict.fromkeys(("expand", "expand as"), axes.expand),
    **dict.fromkeys(
        ("flatten", "unflatten", "reshape", "reshape as", "squeeze", "unsqueeze"), axes.reshape
    ),
    **dict.fromkeys(("permute", "transpose", "movedim", "t"), axes.permute),
    "pixel shuffle": axes.pixel_shuffle,
    "pixel unshuffle": axes.pixel_unshuffle,
    **dict.fromkeys(("patches", "sum of patches", "windows"), patches),
    **dict.fromkeys(("size", "dim", "attribute"), axes.shape_query),
}
"""Key of `conversion.normal_form` -> rule."""
