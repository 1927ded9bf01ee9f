"""Fresh independent weights for a weights network: what the kernels are expectations over."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from dualview.gated_network import GatedNetwork
from dualview.operations import BATCH_NORM_MODULES


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
    for name, parameter in network.named_parameters():
        if parameter.dim() > 1:
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


def fan_in(network: nn.Module, name: str) -> int:
    """How many weights one output unit of the parameter's layer reads."""
    parameter: Any = network.get_parameter(name)
    module = network.get_submodule(name.rpartition(".")[0])
    if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return parameter.shape[0] // module.groups * math.prod(parameter.shape[2:])
    return math.prod(parameter.shape[1:])
