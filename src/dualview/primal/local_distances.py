"""How far examples are from the bend of each gate, where gates have no one hyperplane.

In a DNN or DGN a gate's pre-activation is affine only within the linear region that the example
lies in. Its zeros there continue as a hyperplane, and the distance to that is local: right as far
as the region reaches, which other gates may end before.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dualview.conversion.gated_network import GatedNetwork
from dualview.primal.regions import bends_of

HELD = 4
"""Temporaries of the size of a network's values for one vector."""


def local_distances(
    net: GatedNetwork, x: Tensor, layer: int, gates: Tensor, memory: float
) -> Tensor:
    """Q / |dq / dx| of chosen gates of a layer at every example (n, gates).

    Args:
        net: a network whose gating network is piecewise linear before the layer.
        x: examples (n, ...).
        layer: of the gating network.
        gates: their flat numbers in the layer, (gates,).
        memory: bound, in bytes, on one block of work.

    Raises:
        PrimalFilterError: as `regions.bends_of`.
    """
    network = bends_of(net, layer).network
    distances = []
    for example in x.detach().cpu().double().split(1):
        values, pull_back = torch.func.vjp(network, example)[:2]
        value, *noted = values
        held = HELD * 8 * (sum(part.numel() for part in (value, *noted)) + example.numel())
        norms = []
        for units in gates.split(max(1, int(memory / held))):
            weights = value.new_zeros(len(units), value.numel())
            weights[torch.arange(len(units)), units] = 1
            zeros = [part.new_zeros(len(units), *part.shape) for part in noted]
            (found,) = torch.func.vmap(pull_back)((weights.view(-1, *value.shape), *zeros))
            norms.append(found.flatten(1).norm(dim=1))
        q = value.flatten()[gates]
        distances.append(torch.where(q == 0, q, q / torch.cat(norms)))
    return torch.stack(distances).to(x)
