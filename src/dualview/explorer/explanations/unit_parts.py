"""What units add to each class, over many examples: layers' parts, summed batch by batch.

With gates fixed a logit is the sum over a layer's units of activation * gradient
(`layer_contributions`); one run on a batch and one gradient a class tell of all layers.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from dualview.conversion.gated_network import GatedNetwork
from dualview.datasets import Dataset, Split
from dualview.explorer.explanations.inputs import spread_rows
from dualview.explorer.explanations.network_records import PAIRED
from dualview.explorer.explanations.rates import MOST_EXAMPLES
from dualview.path_attribution.contributions import gate_nodes
from dualview.training.feeding import batches_for

ENOUGH_SECONDS = 30.0
"""Spent on sums over examples: fewer are taken where each takes long, but `FEWEST`."""
FEWEST = 50
TOGETHER = 25


class _Kept(fx.Interpreter):
    """Runs a weights network and keeps what gates have multiplied, with its place in autograd."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self._layer = {node: layer for layer, node in gate_nodes(network).items()}
        self.kept: dict[int, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self._layer:
            self.kept[self._layer[n]] = value
        return value


def private_copy(net: GatedNetwork) -> GatedNetwork:
    """The network in float32 on the CPU, in evaluation mode, all of it with gradients."""
    own = copy.deepcopy(net).cpu().float().eval()
    for parameter in own.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    return own


def gated_activations(net: GatedNetwork, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """What each layer's gates have multiplied, and the logits, for inputs (b, ...).

    Gates are constants: derivatives of the logits are those with gates fixed.
    """
    with torch.no_grad():
        gates, switches = net.gates_and_switches(x)
    run = _Kept(net.weights_network)
    logits = run.run(net.transformed(x).requires_grad_(True), *gates, *switches)
    return [run.kept[layer] for layer in sorted(run.kept)], logits


@dataclass(frozen=True, eq=False)
class ClassSums:
    """Sums over examples.

    Attributes:
        rows: of the split.
        predicted: (examples,).
        labels: (examples,).
        classes: those counted, k of them.
        parts: for each layer (channels, k, k): mean over the examples of class i of what channel u
            adds to the logit of class j.
        logits: (k, k): mean over the examples of class i of the logit of class j.
    """

    rows: tuple[int, ...]
    predicted: np.ndarray
    labels: np.ndarray
    classes: tuple[int, ...]
    parts: tuple[np.ndarray, ...]
    logits: np.ndarray


def class_sums(net: GatedNetwork, data: Dataset, part: Split, classes: Sequence[int]) -> ClassSums:
    """What every unit adds to the logits of some classes, on average over the examples of each.

    Args:
        net: a gated network, as `private_copy` makes it.
        data: standardises, where the network does not.
        part: examples are spread over it.
        classes: of the logits and of the examples; the examples of others are predicted alone.
    """
    column = {label: i for i, label in enumerate(classes)}
    rows = spread_rows(_how_many(net, data, part, classes), len(part))
    sums: list[Any] = []
    logits = np.zeros((len(classes), len(classes)))
    counts, predicted = np.zeros(len(classes)), []
    for x, labels in batches_for(net, data, part.at(rows), TOGETHER):
        found, mine = _batch_sums(net, x, classes)  # per layer (b, k, channels)
        predicted.append(mine.argmax(1))
        sums = sums or [np.zeros((one.shape[2], len(classes), len(classes))) for one in found]
        for place, label in enumerate(labels.tolist()):
            if label in column:
                i = column[label]
                counts[i] += 1
                logits[i] += mine[place, list(classes)]
                for total, one in zip(sums, found, strict=True):
                    total[:, i] += one[place].T
    many = np.maximum(counts, 1)[:, None]
    return ClassSums(
        tuple(rows),
        np.concatenate(predicted),
        part.labels[rows].numpy(),
        tuple(classes),
        tuple(total / many for total in sums),
        logits / many,
    )


def _how_many(net: GatedNetwork, data: Dataset, part: Split, classes: Sequence[int]) -> int:
    """So many that the sums take about `ENOUGH_SECONDS`."""
    rows = spread_rows(TOGETHER, len(part))
    start = time.perf_counter()
    for x, _ in batches_for(net, data, part.at(rows), TOGETHER):
        _batch_sums(net, x, classes)
    each = (time.perf_counter() - start) / len(rows)
    return int(min(MOST_EXAMPLES, max(FEWEST, ENOUGH_SECONDS / max(each, 1e-9))))


def _batch_sums(
    net: GatedNetwork, x: Tensor, classes: Sequence[int]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Of each layer (b, classes, channels), and the logits (b, all classes)."""
    kept, logits = gated_activations(net, x)
    found: list[list[np.ndarray]] = [[] for _ in kept]
    for label in classes if kept else ():
        gradients = torch.autograd.grad(
            logits[:, label].sum(), kept, retain_graph=True, allow_unused=True
        )
        for layer, value, gradient in zip(found, kept, gradients, strict=True):
            layer.append(_by_channel(value, gradient).numpy())
    return [np.stack(layer, axis=1) for layer in found], logits.detach().numpy()


def _by_channel(value: Tensor, gradient: Tensor | None) -> Tensor:
    """Activation * gradient (b, channels), summed over positions."""
    parts = torch.zeros_like(value) if gradient is None else value * gradient
    return parts.detach().double().reshape(*parts.shape[:2], -1).sum(2)


def pair_parts(
    net: GatedNetwork,
    data: Dataset,
    part: Split,
    channels: Sequence[Sequence[int]],
) -> list[np.ndarray | None]:
    """What the paths through two units of successive layers add to the true class's logit.

    The mean over examples spread over the split.

    Args:
        net: as `class_sums` takes it.
        data: the same.
        part: the same.
        channels: of each layer, those whose neighbours before are asked for.

    Returns:
        For each layer (channels asked, all channels of the layer before); None for the first
        layer, and for those that were not begun since the time was over.
    """
    if not channels:
        return []
    rows = spread_rows(PAIRED, len(part))
    start = time.perf_counter()
    sums: list[np.ndarray | None] = [None] * len(channels)
    batches = batches_for(net, data, part.at(rows), TOGETHER)
    for number, (x, labels) in enumerate(batches):
        if number and time.perf_counter() - start > ENOUGH_SECONDS:
            rows = rows[: number * TOGETHER]
            break
        kept, logits = gated_activations(net, x)
        chosen = logits[torch.arange(len(x)), labels].sum()
        gradients = torch.autograd.grad(chosen, kept, retain_graph=True, allow_unused=True)
        for layer in range(1, len(kept)):
            late = time.perf_counter() - start > ENOUGH_SECONDS
            if gradients[layer] is None or (late and (number == 0 or sums[layer] is None)):
                continue
            found = _pairs(kept[layer - 1], kept[layer], gradients[layer], channels[layer])
            sums[layer] = found if sums[layer] is None else sums[layer] + found
    return [None if one is None else one / len(rows) for one in sums]


def _pairs(before: Tensor, value: Tensor, gradient: Tensor, asked: Sequence[int]) -> np.ndarray:
    """(asked, channels before), summed over examples and positions."""
    found = [np.zeros((0, before.shape[1]))]
    for channel in asked:
        only = torch.zeros_like(gradient)
        only[:, channel] = gradient[:, channel]
        (back,) = torch.autograd.grad(value, before, only, retain_graph=True, allow_unused=True)
        found.append(_by_channel(before, back).sum(0, keepdim=True).numpy())
    return np.concatenate(found)
