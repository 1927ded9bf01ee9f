"""The signal path of a traced graph: what the output is made of once all multipliers are given.

Two operations on it hold a multiplier that depends on the example (`multipliers`):

- LayerNorm, as a module or a function;
- softmax attention: a matrix product (`@`, matmul, bmm, einsum) of values with a softmax over a
  given axis other than 0, at most followed by dropout or changes of shape; or
  `F.scaled_dot_product_attention` without dropout.

What an attention weight is computed from (queries, keys, scores, masks) is off the signal path: the
gating network computes it as the model does and the weights network never does. A softmax, or any
product of two values, that stands on the signal path itself is refused (`verification`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx

from dualview.conversion import operations as ops
from dualview.conversion.multipliers import DOT_PRODUCT_AXES, dot_product_weights
from dualview.conversion.products import multiplying_factor
from dualview.conversion.source_lines import as_nodes, module_of
from dualview.conversion.spellings import key_at

Kinds = Mapping[fx.Node, str]
"""Node -> kind of its value, as `dualview.conversion.verification.value_kinds` gives it."""


@dataclass(frozen=True)
class LayerNormCall:
    """One LayerNorm: input, lengths of the last axes, which it normalises, eps, gamma and beta.

    `normalised` is a tuple or list of numbers and nodes, or a node (a shape read off a tensor).
    `weight` and `bias` are a node, the name of a module's parameter, or None.
    """

    source: fx.Node
    normalised: Any
    eps: float
    weight: fx.Node | str | None
    bias: fx.Node | str | None


def is_layer_norm(node: fx.Node) -> bool:
    """Whether `node` is a LayerNorm."""
    return key_at(node) == "layer norm"


def layer_norm_of(node: fx.Node) -> LayerNormCall:
    """The LayerNorm call at `node`."""
    if node.op == "call_module":
        module: Any = module_of(node)
        (source,) = node.all_input_nodes
        weight, bias = (
            None if getattr(module, name) is None else f"{node.target}.{name}"
            for name in ("weight", "bias")
        )
        return LayerNormCall(source, module.normalized_shape, module.eps, weight, bias)
    call: dict[str, Any] = {"weight": None, "bias": None, "eps": 1e-5}
    names = ("input", "normalized_shape", "weight", "bias", "eps")
    call |= dict(zip(names, node.args, strict=False)) | node.kwargs
    return LayerNormCall(
        call["input"], call["normalized_shape"], call["eps"], call["weight"], call["bias"]
    )


def is_dot_product(node: fx.Node) -> bool:
    """Whether `node` is `F.scaled_dot_product_attention`."""
    return key_at(node) == "attention"


def dot_product_arguments(node: fx.Node) -> dict[str, Any]:
    """The arguments of `F.scaled_dot_product_attention` by name; those left out are missing."""
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    return dict(zip(names, node.args, strict=False)) | node.kwargs


def attention_factor(node: fx.Node, kinds: Kinds) -> fx.Node | None:
    """The attention weights among the factors of the product `node`; None where there are none."""
    if key_at(node) not in ("matmul", "einsum"):
        return None
    factors = [factor for factor in as_nodes((node.args, node.kwargs)) if kinds[factor] == "data"]
    for factor in factors:
        if factors.count(factor) == 1 and len(factors) > 1 and _is_softmax(_origin(factor)):
            return factor
    return None


def softmax_of(node: fx.Node, kinds: Kinds) -> tuple[fx.Node, int] | None:
    """The softmax that gives the attention weights at `node`, and its axis; None: not so spelt."""
    factor = attention_factor(node, kinds)
    if factor is None:
        return None
    softmax = _origin(factor)
    return softmax, _softmax_axis(softmax)


def needed_axes(node: fx.Node, kinds: Kinds) -> tuple[fx.Node, int] | None:
    """A value from which the multiplier at `node` is made, and the fewest axes it must have.

    With fewer, what is normalised is the examples (axis 0). None: their number does not matter, or
    is read off a tensor.
    """
    if is_layer_norm(node):
        norm = layer_norm_of(node)
        known = isinstance(norm.normalised, tuple | list)
        return (norm.source, 1 + len(norm.normalised)) if known else None
    if is_dot_product(node):
        (query,) = as_nodes(dot_product_arguments(node)["query"])
        return query, DOT_PRODUCT_AXES
    found = softmax_of(node, kinds)
    return None if found is None or found[1] > 0 else (found[0], 1 - found[1])


def is_embedding(node: fx.Node) -> bool:
    """Whether `node` looks tokens up in a table, which is linear in their one-hot vectors."""
    return key_at(node) == "embedding"


def value_of(node: fx.Node, kinds: Kinds) -> list[fx.Node]:
    """The inputs of `node` that are on the signal path if it is: all but attention's scores.

    Paths begin at an embedding: what its tokens are computed from is no signal.
    """
    if is_embedding(node):
        return [source for source in node.all_input_nodes if kinds[source] != "data"]
    if is_dot_product(node):
        return as_nodes(dot_product_arguments(node)["value"])
    factor = replayed_factor(node, kinds)
    return [source for source in node.all_input_nodes if source is not factor]


def replayed_factor(node: fx.Node, kinds: Kinds) -> fx.Node | None:
    """The factor of the product `node` that the gating network supplies; None: there is none."""
    return attention_factor(node, kinds) or multiplying_factor(node, kinds)


def signal_path(graph: fx.Graph, kinds: Kinds) -> frozenset[fx.Node]:
    """Every node that the output needs when all multipliers are given; the input always."""
    waiting = [node for node in graph.nodes if node.op in ("output", "placeholder")]
    found: set[fx.Node] = set()
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += value_of(node, kinds)
    return frozenset(found)


def multipliers_on(nodes: Iterable[fx.Node], kinds: Kinds) -> tuple[fx.Node, ...]:
    """Those of `nodes` that hold a multiplier, in the order in which they run."""
    return tuple(node for node in nodes if kinds[node] == "data" and multiplies(node, kinds))


def multiplies(node: fx.Node, kinds: Kinds) -> bool:
    """Whether `node`, on data, holds a multiplier."""
    fixed = is_layer_norm(node) or is_dot_product(node)
    return fixed or replayed_factor(node, kinds) is not None


def _origin(node: fx.Node) -> fx.Node:
    """Where the value of `node` comes from, dropout and changes of shape left out."""
    while key_at(node) in ops.RESHAPING | {"dropout"}:
        node = node.args[0] if node.args else node.kwargs["input"]  # type: ignore[assignment]
    return node


def _is_softmax(node: fx.Node) -> bool:
    """Whether `node` is a softmax over a given axis other than 0, that of the examples."""
    known = key_at(node) == "softmax" or node.target is dot_product_weights
    return known and isinstance(axis := _softmax_axis(node), int) and axis != 0


def _softmax_axis(node: fx.Node) -> Any:
    if node.op == "call_module":
        return module_of(node).dim
    if node.target is dot_product_weights:
        return -1
    return node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
