"""The gating network's graph: input -> the pre-activations of every gate, switches, multipliers.

What the last gate does not need is not in it: the graph's output names what is needed, and the rest
is dead code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import fx

from dualview.conversion.multipliers import dot_product_weights, layer_norm_scale, softmax_weights
from dualview.conversion.pooling import max_pool_switch
from dualview.conversion.products import multiplying_factor
from dualview.conversion.signal_path import (
    Kinds,
    attention_factor,
    dot_product_arguments,
    is_dot_product,
    is_layer_norm,
    layer_norm_of,
    softmax_of,
)
from dualview.conversion.source_lines import describe
from dualview.conversion.tracing import TracedNetwork, data_argument, drop_dead_code, max_pool_of
from dualview.conversion.verification import value_kinds
from dualview.errors import UnsupportedOperationError


def gating_graph(traced: TracedNetwork, *, linear: bool, switches: bool) -> fx.Graph:
    """Graph that returns `(q_1, ..., q_L)`, then one switch per max pool if `switches`.

    Last come the multipliers of LayerNorm and attention, if the network has any. `linear` drops
    every activation and averages where the model takes maxima (a DLGN's gating network); otherwise
    both stay (a DNN's or DGN's).
    """
    graph = fx.Graph()
    env: dict[fx.Node, fx.Node] = {}
    pre_activations: list[fx.Node] = []
    chosen: list[fx.Node] = []
    multipliers: list[fx.Node] = []
    kinds = value_kinds(traced.graph)
    activations, max_pools, others = map(
        frozenset, (traced.activations, traced.max_pools, traced.multipliers)
    )
    for node in traced.graph.nodes:
        if node.op == "output":
            break
        if node in activations:
            q = env[data_argument(node)]
            pre_activations.append(q)
            env[node] = q if linear else graph.node_copy(node, env.__getitem__)
        elif node in max_pools:
            source = env[data_argument(node)]
            if switches:
                pool = max_pool_of(node)
                options = fx.map_arg(pool.options, env.__getitem__)
                given = (source, pool.dims, pool.adaptive)
                chosen.append(graph.call_function(max_pool_switch, given, options))
            average = add_average(graph, node, source, env.__getitem__) if linear else None
            env[node] = average or graph.node_copy(node, env.__getitem__)
        elif node in others:
            multipliers.append(_multiplier(graph, node, kinds, env))
            if is_dot_product(node):  # whose attention weights are not computed twice
                value = env[dot_product_arguments(node)["value"]]
                env[node] = graph.call_function(torch.matmul, (multipliers[-1], value))
            else:
                env[node] = graph.node_copy(node, env.__getitem__)
        else:
            env[node] = graph.node_copy(node, env.__getitem__)
    graph.output((*pre_activations, *chosen, *multipliers))
    drop_dead_code(graph)
    return graph


def add_average(
    graph: fx.Graph, node: fx.Node, source: fx.Node, lookup: Callable[[fx.Node], fx.Node]
) -> fx.Node:
    """Average pooling of the windows of the max pool `node`, applied to `source`.

    `lookup` maps the traced graph's nodes (sizes that options are read off) to `graph`'s.

    Raises:
        UnsupportedOperationError: the windows are dilated.
    """
    pool = max_pool_of(node)
    if pool.dilated:
        raise UnsupportedOperationError(
            f"{describe(node)}: average pooling has no dilation, so it cannot stand in for this "
            f"max pool. Repair: use dilation=1, or kind='dgn' with max_pool='switch'"
        )
    options = fx.map_arg(pool.average_options, lookup)
    if pool.adaptive:  # by position, as PyTorch's functions of them pass their arguments on
        return graph.call_function(pool.average_function, (source, *options.values()))
    return graph.call_function(pool.average_function, (source,), options)


def _multiplier(
    graph: fx.Graph, node: fx.Node, kinds: Kinds, env: Mapping[fx.Node, fx.Node]
) -> fx.Node:
    """The scale of the LayerNorm, or the weights of the attention, at `node`."""
    if is_layer_norm(node):
        norm = layer_norm_of(node)
        normalised = fx.map_arg(norm.normalised, env.__getitem__)
        return graph.call_function(layer_norm_scale, (env[norm.source], normalised, norm.eps))
    factor, softmax = attention_factor(node, kinds), softmax_of(node, kinds)
    if factor is not None and softmax is not None:
        source, axis = softmax
        if axis > 0:
            return env[factor]
        return graph.call_function(softmax_weights, (env[factor], env[source], axis))
    weighing = multiplying_factor(node, kinds)
    if weighing is not None:
        return env[weighing]
    options = fx.map_arg(dot_product_arguments(node), env.__getitem__)
    unused = ("value", "dropout_p", "enable_gqa")
    used = {name: value for name, value in options.items() if name not in unused}
    return graph.call_function(dot_product_weights, (), used)
