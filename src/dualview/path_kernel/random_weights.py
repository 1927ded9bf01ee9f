"""Fresh independent weights for a weights network: what the kernels are expectations over."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.multipliers import replay_layer_norm
from dualview.conversion.operations import (
    ADDITIVE_FUNCTIONS,
    ADDITIVE_METHODS,
    BATCH_NORM_MODULES,
    RESHAPING,
)
from dualview.conversion.source_lines import operation_name

ADDING = ADDITIVE_FUNCTIONS | ADDITIVE_METHODS | {torch.cat, torch.concat, torch.stack}


def bare_weights_network(net: GatedNetwork) -> fx.GraphModule:
    """A copy of the weights network in evaluation mode, batch norms replaced by the identity."""
    network = copy.deepcopy(net.weights_network).eval()
    for name, module in list(network.named_modules()):
        if isinstance(module, BATCH_NORM_MODULES):
            parent, _, leaf = name.rpartition(".")
            setattr(network.get_submodule(parent), leaf, nn.Identity())
    return network


def draw_weights(
    network: nn.Module,
    seed: int,
    draw: int = 0,
    *,
    variances: dict[str, float] | None = None,
    biases: bool = False,
) -> dict[str, Tensor]:
    """Independent normal weights for every layer, as a parameter dictionary.

    Args:
        network: a module; nothing in it is changed.
        seed: whole number.
        draw: number of the draw; any one can be made without those before it.
        variances: parameter name -> variance; default 1 / fan-in.
        biases: draw biases of unit variance; else they are 0.

    Returns:
        Name -> tensor, for `torch.func.functional_call`.
    """
    state = np.random.SeedSequence([seed, draw]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
    drawn: dict[str, Tensor] = {}
    added, factors = added_parameters(network), layer_norm_factors(network)
    for name, parameter in network.named_parameters():
        if name in added:
            deviation = float(biases)
        elif parameter.dim() > 1 and name not in factors:
            variance = 1 / fan_in(network, name) if variances is None else variances[name]
            deviation = math.sqrt(variance)
        elif name.rpartition(".")[2] == "bias":
            deviation = float(biases)
        else:  # a factor per channel is a constant of the network, not a weight
            drawn[name] = parameter.detach()
            continue
        # Drawn on the CPU, so that a seed means the same on every device.
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        drawn[name] = (values * deviation).to(parameter)
    return drawn


def added_parameters(network: nn.Module) -> frozenset[str]:
    """Parameters that a graph adds or concatenates as they are: biases, whatever they are called.

    A class token and position embeddings are such.
    """
    return frozenset(str(n.target) for n in _read_by_graph(network) if _is_added(n, n))


def layer_norm_factors(network: nn.Module) -> frozenset[str]:
    """The gammas of replayed LayerNorms: constants of the network, as batch norm's are."""
    found = set()
    for node in _read_by_graph(network):
        if any(u.target is replay_layer_norm and u.args[3] is node for u in node.users):
            found.add(str(node.target))
    return frozenset(found)


def _read_by_graph(network: nn.Module) -> list[fx.Node]:
    if not isinstance(network, fx.GraphModule):
        return []
    return [node for node in network.graph.nodes if node.op == "get_attr"]


def _is_added(parameter: fx.Node, value: fx.Node) -> bool:
    """Whether `value`, the parameter or a view of it, is a term or a part of another value."""
    for user in value.users:
        if user.target is replay_layer_norm:
            added = user.args[4] is parameter
        elif operation_name(user) in (*RESHAPING, "expand"):
            added = _is_added(parameter, user)
        else:
            added = user.target in ADDING
        if added:
            return True
    return False


def fan_in(network: nn.Module, name: str) -> int:
    """How many weights one output unit of the parameter's layer reads."""
    parameter: Any = network.get_parameter(name)
    module = network.get_submodule(name.rpartition(".")[0])
    if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return parameter.shape[0] // module.groups * math.prod(parameter.shape[2:])
    return math.prod(parameter.shape[1:])
