"""One layer of a DLGN's gating network as an affine map, and its linear part applied both ways.

The map is x -> q(x) = <F, x> + c, with one filter F and one offset c for every gate. Examples are
on axis 0. Neither direction ever holds the matrix of all filters: both take a block of vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from dualview.arguments import gated_layer, require
from dualview.conversion.affine_pass import AffinePass
from dualview.conversion.copying import copied
from dualview.conversion.examples import gated
from dualview.conversion.finite import check_network
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.graph_network import GraphNetwork
from dualview.conversion.input_transform import InputTransform
from dualview.conversion.operations import BATCH_NORM_MODULES, DROPOUT_MODULES
from dualview.conversion.source_lines import describe, module_of, operation_name
from dualview.conversion.spellings import key_at
from dualview.conversion.tracing import drop_dead_code
from dualview.conversion.verification import value_kinds
from dualview.errors import PrimalFilterError

LINEAR_KINDS = ("dlgn", "dlgn-sf")
"""Kinds whose gating network is affine."""


def layer_network(net: GatedNetwork, layer: int) -> fx.GraphModule:
    """A frozen copy of what `net` computes between the input and the pre-activations of `layer`.

    Args:
        net: a DLGN, with batch norm in evaluation mode.
        layer: which of the gating network's pre-activations, from 0 to L - 1.

    Returns:
        x (n, ...) -> q (n, ...). Training `net` afterwards does not change it.

    Raises:
        PrimalFilterError: another kind of network, no such layer, batch norm or dropout in training
            mode, or parameters that are not finite.
    """
    _check_kind(net)
    layer = require("layer", layer, gated_layer(net.n_gates), PrimalFilterError)
    if not net.affine_layers[layer]:
        raise PrimalFilterError(
            f"layer {layer}: a multiplier that depends on the example (attention, "
            f"squeeze-and-excitation, normalisation by its statistics) stands before it, so that "
            f"its pre-activations are not affine in the input and have no filters. Repair: choose "
            f"a layer for which net.affine_layers is True"
        )
    network = GraphNetwork(net.gating_network, _layer_graph(net.gating_network, layer))
    if net.input_transform is not None:
        put_first(net.input_transform, network)
    check_modes(network)
    check_network(network, PrimalFilterError)
    return copied(network).requires_grad_(False)


def linear_image(network: Callable[[Tensor], Tensor], at: Tensor, vectors: Tensor) -> Tensor:
    """The linear part of `network` at an input (1, ...), applied to vectors (k, ...): <F, v>."""

    def apply(vector: Tensor) -> Tensor:
        return torch.func.jvp(network, (at,), (vector,))[1]

    with torch.no_grad():
        return torch.func.vmap(apply)(vectors.unsqueeze(1)).squeeze(1)


def filter_sums(network: fx.GraphModule, example: Tensor, weights: Tensor) -> Tensor:
    """Sums of filters with weights (k, *gate shape), (k, *input shape): vector-Jacobian products.

    `example` (1, *input shape) gives the shape of the input; its values do not matter.
    """
    first = next(node for node in network.graph.nodes if node.op == "placeholder")
    sized = "shape" in value_kinds(network.graph).values()  # a size must be that of all rows
    zeros = torch.zeros_like(example)
    zeros = zeros.expand(len(weights), *zeros.shape[1:]).clone() if sized else zeros
    with torch.no_grad():
        run = AffinePass(network, (zeros,), first)
        for node, sums in run.pull_back(weights):
            if node is first:
                found: Tensor = sums
                return found
    return weights.new_zeros(len(weights), *example.shape[1:])


def _check_kind(net: GatedNetwork) -> None:
    require("net", net, gated, PrimalFilterError)
    if net.kind not in LINEAR_KINDS:
        raise PrimalFilterError(
            f"kind={net.kind!r}: its gating network has activations, so a gate has no one linear "
            f"filter, but another for every example; expected one of {LINEAR_KINDS}. Repair: "
            f"dualview.disentangle(model, kind='dlgn'), or the filter at one example x by "
            f"torch.func.jacrev(lambda x: net.preactivations(x[None])[layer][0])(x)"
        )


def put_first(transform: InputTransform, network: fx.GraphModule) -> None:
    """Let the network read its input behind the transform."""
    name = "input_transform"
    while hasattr(network, name):
        name += "_"
    network.add_module(name, transform)
    x = next(node for node in network.graph.nodes if node.op == "placeholder")
    with network.graph.inserting_after(x):
        behind = network.graph.call_module(name, (x,))
    x.replace_all_uses_with(behind, delete_user_cb=lambda user: user is not behind)
    network.recompile()


def _layer_graph(gating: fx.GraphModule, layer: int) -> fx.Graph:
    """The part of the gating graph that one layer needs.

    A `Sequential` becomes its layers, so that each has its rule. `.detach()` goes: the value is the
    same, and derivatives would miss it.
    """
    graph = fx.Graph()
    env: dict[fx.Node, fx.Node] = {}
    for node in gating.graph.nodes:
        if node.op == "output":
            graph.output(env[node.args[0][layer]])
        elif is_detach(node):
            env[node] = env[node.all_input_nodes[0]]
        elif node.op == "call_module" and type(module_of(node)) is nn.Sequential:
            value = env[node.all_input_nodes[0]]
            for name, _ in module_of(node).named_children():
                value = graph.call_module(f"{node.target}.{name}", (value,))
            env[node] = value
        else:
            env[node] = graph.node_copy(node, env.__getitem__)
    drop_dead_code(graph)
    return graph


def is_detach(node: fx.Node) -> bool:
    """Whether a node only cuts derivatives off."""
    return key_at(node) == "same" and operation_name(node) == "detach"


def check_modes(network: fx.GraphModule) -> None:
    """Refuse what makes the values of one example depend on others, or on chance.

    Raises:
        PrimalFilterError: batch norm by the statistics of the batch, or dropout in training mode.
    """
    for node in network.graph.nodes:
        module: Any = module_of(node) if node.op == "call_module" else None
        if isinstance(module, BATCH_NORM_MODULES):
            if module.running_var is None:
                raise PrimalFilterError(
                    f"{describe(node)}: its statistics are those of the batch, also in evaluation "
                    f"mode, so the gates are not affine in one example. Repair: use batch norm "
                    f"with track_running_stats=True"
                )
            if module.training:
                _refuse_training(node, "it normalises by the statistics of the batch")
        elif isinstance(module, DROPOUT_MODULES) and module.training and module.p > 0:
            _refuse_training(node, "it multiplies by random numbers")


def _refuse_training(node: fx.Node, reason: str) -> None:
    raise PrimalFilterError(
        f"{describe(node)}: in training mode {reason}, so gates have no fixed filters; expected "
        f"the network in evaluation mode. Repair: net.eval()"
    )
