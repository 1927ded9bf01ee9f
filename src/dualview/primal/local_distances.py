"""How far examples are from the bend of each gate, where gates have no one hyperplane.

In a DNN or DGN a gate's pre-activation is affine only within the linear region that the example
lies in. Its zeros there continue as a hyperplane, and the distance to that is local: right as far
as the region reaches, which other gates may end before.
"""

from __future__ import annotations

import functools
import time

import torch
from torch import Tensor

from dualview.conversion.gated_network import GatedNetwork
from dualview.primal.affine import linear_image
from dualview.primal.norms import say_long
from dualview.primal.regions import bends_of
from dualview.primal.row_norms import cheapest
from dualview.primal.windows import LinearMap
from dualview.progress import Progress

HELD = 4
"""Temporaries of the size of a network's values for one vector."""


def local_distances(
    net: GatedNetwork, x: Tensor, layer: int, gates: Tensor, memory: float, progress: Progress
) -> Tensor:
    """Q / |dq / dx| of chosen gates of a layer at every example (n, gates).

    Args:
        net: a network whose gating network is piecewise linear before the layer.
        x: examples (n, ...).
        layer: of the gating network.
        gates: their flat numbers in the layer, (gates,).
        memory: bound, in bytes, on one block of work.
        progress: told of the passes through the network.

    Raises:
        PrimalFilterError: as `regions.bends_of`.
    """
    network = bends_of(net, layer).network
    different, back = gates.unique(return_inverse=True)
    distances = []
    for number, example in enumerate(x.detach().cpu().double().split(1)):
        with torch.no_grad():
            held = HELD * 8 * (sum(part.numel() for part in network(example)) + example.numel())
        q, linear = _at(network, example)
        block = max(1, int(memory / held))
        way = cheapest(linear, different, block, linear.input_shape)
        if not number:
            seconds = len(x) * way.passes * _seconds(linear)
            say_long(layer, len(x) * way.passes, seconds, min(block, way.passes) * held)
        title = f"distances, layer {layer}, example {number + 1} of {len(x)}"
        with progress.counting(way.passes, title, unit="pass") as advance:
            norms = way.squares(block, advance).sqrt()[back]
        q = q.flatten()[gates]
        distances.append(torch.where(q == 0, q, q / norms))
    return torch.stack(distances).to(x)


def _at(network: torch.nn.Module, example: Tensor) -> tuple[Tensor, LinearMap]:
    """Pre-activations (*gate shape) at an example, and their derivative."""

    def value_at(z: Tensor) -> Tensor:
        value: Tensor = network(z)[0]
        return value

    q, pull_back = torch.func.vjp(value_at, example)[:2]

    def pull(weights: Tensor) -> Tensor:
        (found,) = torch.func.vmap(pull_back)(weights.unsqueeze(1))
        rows: Tensor = found.squeeze(1)
        return rows

    push = functools.partial(linear_image, value_at, example)
    q = q.detach()
    return q[0], LinearMap(tuple(example.shape[1:]), tuple(q.shape[1:]), q, pull, push)


def _seconds(linear: LinearMap) -> float:
    """What one pass takes here."""
    start = time.perf_counter()
    linear.pull(linear.like.new_zeros(1, *linear.gate_shape))
    return time.perf_counter() - start
