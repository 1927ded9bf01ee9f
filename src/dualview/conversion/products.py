"""Products of two values that both depend on the input: which factor is the multiplier.

A converted network is linear in its weights once every multiplier is given, so of two factors one
must be computed by the gating network and replayed. Which one is not a matter of taste where one
was made to weigh the other:

- what a normalisation scales by is its multiplier, whatever it normalises;
- squashed factors (sigmoid, hardsigmoid, softmax) and statistics of an example (one over a standard
  deviation, a norm) weigh whatever they are multiplied with: squeeze-and-excite, attention over
  channels or space, GLU;
- of an activated and a plain factor the activated one is the gate, as the authors of SwiGLU and its
  like call it;
- what divides is the multiplier of what is divided;
- `as_multiplier(factor)` in a model's forward settles it by hand, and the name of the layer that
  gives the factor does for a model whose forward is somebody else's.

Two factors of one strength are a bilinear product: nothing says which is the gate, so that is
refused. Source: theory, section 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, fx

from dualview.conversion import operations as ops
from dualview.conversion.activations import is_activation
from dualview.conversion.leaf import leaf
from dualview.conversion.normalisation import SCALES
from dualview.conversion.source_lines import operation_name
from dualview.conversion.spellings import key_at
from dualview.errors import ConversionError, did_you_mean

SCALING, MARKED, WEIGHING, BOUNDED, ACTIVATED, PLAIN = 5, 4, 3, 2, 1, 0
"""How strongly a factor claims to be the multiplier: what a norm scales by does above all."""

_WEIGHING = frozenset(
    [
        *("sigmoid", "expit", "hardsigmoid", "softmax", "softmin", "rsqrt", "reciprocal"),
        *("norm", "vector_norm", "linalg_vector_norm", "var", "std"),
    ]
)
_BOUNDED = frozenset(["tanh", "hardtanh", "softsign", "clamp", "clip", "erf"])


@leaf
def as_multiplier(factor: Tensor) -> Tensor:
    """`factor` itself, marked as the multiplier of the product that it goes into.

    In a model's forward `h * as_multiplier(g)` says that the gating network gives `g` and that
    paths run through `h`.

    Args:
        factor: any shape, examples first.

    >>> import torch
    >>> as_multiplier(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """
    return factor


def mark_multipliers(module: fx.GraphModule, patterns: Sequence[str]) -> None:
    """Mark what the layers called `patterns` give as the multiplier of the product it goes into.

    Args:
        module: the traced network.
        patterns: names of layers; `*` stands for any text.

    Raises:
        ConversionError: there is no such layer, or it goes into no product.
    """
    layers = [node for node in module.graph.nodes if node.op == "call_module"]
    for pattern in patterns:
        named = [node for node in layers if fnmatchcase(str(node.target), pattern)]
        if not named:
            raise ConversionError(
                f"multipliers: expected names of layers that forward calls, got {pattern!r}"
                f"{did_you_mean(pattern, [str(node.target) for node in layers])}"
            )
        for node in named:
            with module.graph.inserting_after(node):
                marked = module.graph.call_function(as_multiplier, (node,))
            marked.stack_trace, marked.meta = node.stack_trace, dict(node.meta)
            node.replace_all_uses_with(
                marked, delete_user_cb=lambda user, own=marked: user is not own
            )


def refuse_idle_marks(graph: fx.Graph, kinds: Any, patterns: Sequence[str]) -> None:
    """Refuse names of `mark_multipliers` that decide no product.

    Raises:
        ConversionError: no factor of a product comes from one of these layers.
    """
    factors = [factor for node in graph.nodes if (factor := multiplying_factor(node, kinds))]
    deciding = {str(node.target) for factor in factors for node in _marked_layers(factor, kinds)}
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in deciding):
            raise ConversionError(
                f"multipliers: {pattern!r} names no layer whose output goes into a product of two "
                f"values that depend on the input. Repair: leave it out, or name the layer that "
                f"gives the factor"
            )


def _marked_layers(factor: fx.Node, kinds: Any) -> list[fx.Node]:
    """The layers that were named and whose output `factor` is, moves and constants left out."""
    if factor.target is as_multiplier:
        return [source for source in factor.all_input_nodes if source.op == "call_module"]
    if not _keeps_claim(factor):
        return []
    sources = (source for source in factor.all_input_nodes if kinds[source] == "data")
    return [layer for source in sources for layer in _marked_layers(source, kinds)]


def layer_behind(factor: fx.Node, kinds: Any) -> str | None:
    """The name of the one layer whose output `factor` is, moves and constants left out."""
    while _keeps_claim(factor):
        sources = [source for source in factor.all_input_nodes if kinds[source] == "data"]
        if len(sources) != 1:
            return None
        factor = sources[0]
    return str(factor.target) if factor.op == "call_module" else None


def multiplying_factor(node: fx.Node, kinds: Any) -> fx.Node | None:
    """The multiplier among the factors of the elementwise product or quotient `node`.

    None where at most one factor depends on the input, or nothing says which is the multiplier.
    """
    key = key_at(node)
    if key not in ("mul", "div"):
        return None
    left, right = operands(node)
    if left is right or not (_is_data(left, kinds) and _is_data(right, kinds)):
        return None
    if key == "div":
        return right
    claims = claim(left, kinds), claim(right, kinds)
    if claims[0] == claims[1]:
        return None
    return left if claims[0] > claims[1] else right


def claim(factor: fx.Node, kinds: Any) -> int:
    """How strongly `factor` claims to be a multiplier: what it is, moves and constants left out."""
    if factor.target in SCALES:
        return SCALING
    if factor.target is as_multiplier:
        return MARKED
    name = operation_name(factor).lower()
    if (
        name in _WEIGHING
        or _is_hard_sigmoid(factor)
        or (key_at(factor) == "div" and _is_data(operands(factor)[1], kinds))
    ):
        return WEIGHING
    if name in _BOUNDED:
        return BOUNDED
    if is_activation(factor):
        return ACTIVATED
    sources = [source for source in factor.all_input_nodes if kinds[source] == "data"]
    if key_at(factor) in _LIKE or factor.target == "type_as":
        sources = sources[:1]  # of the second one it takes the shape or type alone
    if not sources or not _keeps_claim(factor):
        return PLAIN
    return min(claim(source, kinds) for source in sources)


def _is_hard_sigmoid(node: fx.Node) -> bool:
    """Whether `node` is relu6(x + 3), a hard sigmoid spelt by hand but for its scale of 1/6."""
    if operation_name(node).lower() != "relu6":
        return False
    (source,) = node.all_input_nodes
    return key_at(source) in ops.ADDITIVE and 3 in operands(source)


def operands(node: fx.Node) -> tuple[Any, Any]:
    """The two operands of a binary operation, however they are given."""
    given = [*node.args, *(node.kwargs[k] for k in ("input", "other") if k in node.kwargs)]
    if len(node.args) == 1 and "input" in node.kwargs:
        given = [node.kwargs["input"], node.args[0]]
    return given[0], given[1]


def _is_data(value: Any, kinds: Any) -> bool:
    return isinstance(value, fx.Node) and kinds[value] == "data"


_LIKE = frozenset({"expand as", "reshape as"})

_KEEPING = (
    ops.RESHAPING
    | ops.SEVERAL
    | ops.ADDITIVE
    | _LIKE
    | frozenset(
        [
            *("getitem", "select", "narrow", "expand", "repeat", "tile", "stack", "cat"),
            *("copy", "dropout", "mul", "div", "neg", "attribute", "interpolate"),
            *("mean", "sum", "average pool", "adaptive average pool"),
        ]
    )
)
"""What moves, scales, shifts or averages a factor, which stays what it is."""


def _keeps_claim(node: fx.Node) -> bool:
    return key_at(node) in _KEEPING
