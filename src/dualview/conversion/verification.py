"""Is every operation of a traced graph an activation, a max pool, or affine? Else refuse.

A value is one of three kinds: *constant* (made from parameters alone), *shape* (sizes and other
Python values read off a tensor) and *data* (a tensor that depends on the input). Only operations on
data are checked, each against the tables of `operations`. LayerNorm and attention are
affine once their multipliers are given; what attention weights are computed from may be anything
that is not random (`signal_path`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import fx

from dualview.conversion import operations as ops
from dualview.conversion.activations import is_activation
from dualview.conversion.pooling import is_max_pool
from dualview.conversion.products import as_multiplier, layer_behind
from dualview.conversion.signal_path import (
    dot_product_arguments,
    is_dot_product,
    is_embedding,
    is_layer_norm,
    layer_norm_of,
    needed_axes,
    replayed_factor,
    signal_path,
)
from dualview.conversion.source_lines import as_nodes, describe, module_of, operation_name
from dualview.conversion.spellings import key_at
from dualview.errors import UnsupportedOperationError

ValueKind = Literal["constant", "shape", "data"]


def is_shape_query(node: fx.Node) -> bool:
    """Whether `node` reads a size or another Python value off a tensor."""
    key = key_at(node)
    return key in ops.SHAPE_KEYS or (key == "attribute" and node.args[1] in ops.SHAPE_ATTRIBUTES)


def is_batch_size(node: fx.Node) -> bool:
    """Whether `node` is the number of examples, x.size(0) or x.shape[0]."""
    if key_at(node) == "size":
        return node.args[1:] == (0,) or node.kwargs.get("dim") in (0,)
    if key_at(node) != "getitem":
        return False
    source, index = node.args
    return index in (0,) and isinstance(source, fx.Node) and is_shape_query(source)


def value_kinds(graph: fx.Graph) -> dict[fx.Node, ValueKind]:
    """The kind of every node's value."""
    kinds: dict[fx.Node, ValueKind] = {}
    for node in graph.nodes:
        sources = [kinds[source] for source in node.all_input_nodes]
        if node.op == "placeholder" or (
            "data" in sources and not is_shape_query(node) and node.op != "output"
        ):
            kinds[node] = "data"
        elif "shape" in sources or is_shape_query(node):
            kinds[node] = "shape"
        else:
            kinds[node] = "constant"
    return kinds


def verify(graph: fx.Graph) -> None:
    """Check every operation on data.

    Raises:
        UnsupportedOperationError: one is neither affine (given its multipliers), nor self-gated,
            nor a max pool.
    """
    kinds = value_kinds(graph)
    on_path = signal_path(graph, kinds)
    for node in graph.nodes:
        if node.op in ("placeholder", "get_attr", "output"):
            continue
        if operation_name(node).rstrip("_") in ops.RANDOM_NAMES:
            _refuse(node)
        _verify_follows_the_mode(node)
        if kinds[node] == "data" and node in on_path:
            _verify_node(node, kinds)


def verify_examples_apart(
    multipliers: Iterable[fx.Node],
    kinds: Mapping[fx.Node, str],
    shapes: Mapping[fx.Node, torch.Size],
) -> None:
    """Check that no LayerNorm or attention normalises over the examples, which are on axis 0.

    Raises:
        UnsupportedOperationError: one does.
    """
    for node in multipliers:
        found = needed_axes(node, kinds)
        if found is None or len(shapes[found[0]]) >= found[1]:
            continue
        raise UnsupportedOperationError(
            f"{describe(node)}: expected a value of at least {found[1]} axes, the examples first, "
            f"got shape {tuple(shapes[found[0]])}, so that it normalises over the examples. "
            f"Repair: normalise over another axis, or pass an example_input with an axis of "
            f"examples"
        )


def is_known_affine(node: fx.Node, kinds: Mapping[fx.Node, str]) -> bool:
    """Whether `node`, no activation or max pool, is affine in the data that it reads."""
    try:
        _verify_node(node, kinds)
    except UnsupportedOperationError:
        return False
    return True


def _verify_node(node: fx.Node, kinds: Mapping[fx.Node, str]) -> None:
    if is_activation(node) or is_max_pool(node) or node.target is as_multiplier:
        return
    if is_layer_norm(node):
        _verify_layer_norm(node, kinds)
        return
    if is_dot_product(node):
        _verify_dot_product(node)
        return
    if node.op == "call_module":
        module: Any = module_of(node)
        if not is_embedding(node) and type(module) not in ops.LINEAR_MODULES:
            _refuse(node)
        if is_embedding(node) and module.max_norm is not None:
            raise UnsupportedOperationError(
                f"{describe(node)}: with max_norm it changes its own weights at each call. Repair: "
                f"set max_norm to None"
            )
        return
    key = key_at(node)
    _verify_options(node)
    factors = [arg for arg in as_nodes((node.args, node.kwargs)) if kinds[arg] == "data"]
    replayed = replayed_factor(node, kinds)
    if replayed is not None:
        factors.remove(replayed)
    if key in ops.PRODUCTS:
        if len(factors) > 1:
            _refuse_product(node, kinds)
    elif key == ops.QUOTIENT:
        if replayed is not None:
            return
        divisors = [*node.args[1:], *(v for k, v in node.kwargs.items() if k != "input")]
        if any(_holds_data(arg, kinds) for arg in divisors):
            _refuse_product(node, kinds)
    elif key not in ops.LINEAR | ops.ADDITIVE:
        _refuse(node)


def _verify_options(node: fx.Node) -> None:
    """Options that make an affine operation something else."""
    if node.kwargs.get("out") is not None:
        raise UnsupportedOperationError(
            f"{describe(node)}: it writes into another tensor (out=), which a traced network "
            f"cannot follow. Repair: use its return value"
        )
    if node.kwargs.get("rounding_mode") is not None:
        raise UnsupportedOperationError(
            f"{describe(node)}: it rounds ({node.kwargs['rounding_mode']}), which is not affine. "
            f"Repair: divide without rounding_mode"
        )
    dtypes = [v for v in (*node.args, *node.kwargs.values()) if isinstance(v, torch.dtype)]
    if any(not dtype.is_floating_point for dtype in dtypes):
        raise UnsupportedOperationError(
            f"{describe(node)}: it rounds to {dtypes[0]}, which is not affine. Repair: keep "
            f"floating-point values"
        )


def _verify_follows_the_mode(node: fx.Node) -> None:
    if node.op == "call_function" and key_at(node) == "dropout" and _always_on(node):
        raise UnsupportedOperationError(
            f"{describe(node)}: this dropout is on in evaluation mode too, so the gating and the "
            f"weights network would draw different masks. Repair: use nn.Dropout, or pass "
            f"training=self.training"
        )


def _verify_layer_norm(node: fx.Node, kinds: Mapping[fx.Node, str]) -> None:
    if any(kinds[n] == "data" for n in node.all_input_nodes if n is not layer_norm_of(node).source):
        raise UnsupportedOperationError(
            f"{describe(node)}: expected a gamma and beta that are parameters, got one that "
            f"depends on the input. Repair: normalise without them, or with the model's own"
        )


def _verify_dot_product(node: fx.Node) -> None:
    call = dot_product_arguments(node)
    if call.get("dropout_p", 0.0) != 0.0 or call.get("enable_gqa", False) is not False:
        _refuse(node)


def _always_on(node: fx.Node) -> bool:
    return bool(node.kwargs.get("training", node.args[2] if len(node.args) > 2 else True))


def _holds_data(argument: Any, kinds: Mapping[fx.Node, str]) -> bool:
    return any(kinds[node] == "data" for node in as_nodes(argument))


def _refuse(node: fx.Node) -> None:
    reason, repair = ops.REASONS.get(operation_name(node).lower(), ops.UNKNOWN)
    raise UnsupportedOperationError(f"{describe(node)}: {reason}. Repair: {repair}")


def _refuse_product(node: fx.Node, kinds: Mapping[fx.Node, str]) -> None:
    factors = [factor for factor in as_nodes((node.args, node.kwargs)) if kinds[factor] == "data"]
    layers = [name for factor in factors if (name := layer_behind(factor, kinds))]
    named = "".join(f" (here {' or '.join(map(repr, layers))})" for _ in layers[:1])
    raise UnsupportedOperationError(
        f"{describe(node)}: it multiplies or divides two values that both depend on the input, and "
        f"nothing says which of them is the gate: neither is squashed (sigmoid, softmax), a "
        f"statistic of the example or, of the two, the activated one. Repair: name the layer that "
        f"gives the factor which the gating network is to supply, "
        f"disentangle(..., multipliers=['NAME']){named}; or mark the factor in forward, "
        f"h * dualview.as_multiplier(g)"
    )
