"""What every gated layer adds to some outputs, by two runs of the weights network in all.

`layer_contributions` explains one layer of one output. With gates fixed the
gradient in a layer's activations is the same whatever they are, so one run on the example, one on
an input of 0, where only biases speak, and one gradient an output tell of all layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dualview.conversion.gated_network import GatedNetwork
from dualview.path_attribution.affine_run import affine_pass, unit
from dualview.path_attribution.contributions import LayerContributions, gate_nodes
from dualview.path_attribution.example import one_example

ROUNDING = 1e-13
"""Relative to the largest sum of sizes, what bypasses a layer that nothing bypasses."""


def contributions_of_layers(
    net: GatedNetwork, x: Tensor, outputs: Sequence[int]
) -> list[list[LayerContributions]]:
    """For each output, `layer_contributions` of every gated layer.

    Args:
        net: a gated network; its own gates, in evaluation mode.
        x: one example, (1, ...).
        outputs: flat positions in the network's output.

    Raises:
        PathKernelError: as `layer_contributions`.

    >>> import dualview as dv
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> net, x = dv.disentangle(model.double(), seed=0), torch.randn(1, 4).double()
    >>> ((layer,),) = contributions_of_layers(net, x, outputs=[1])
    >>> abs(layer.through + layer.biases - net(x)[0, 1].item()) < 1e-12, layer.skips
    (True, 0.0)
    """
    example = one_example(net, x, in_place=True)
    nodes = gate_nodes(example.network)
    number = {node: layer for layer, node in nodes.items()}
    run = affine_pass(example, keep=list(number))
    alone = affine_pass(example, keep=list(number), zero_input=True)
    results = (run.result.reshape(-1), alone.result.reshape(-1))
    found = []
    with torch.inference_mode(False), torch.no_grad():
        for output in outputs:
            layers: dict[int, LayerContributions] = {}
            for node, gradient in run.pull_back(unit(run.result, output)):
                if node in number:
                    pair = (run.kept[node], alone.kept[node])
                    layers[number[node]] = _layer(number[node], output, *pair, gradient, results)
            for node, layer in number.items():  # whatever the output does not depend on
                if layer not in layers:
                    pair = (run.kept[node], alone.kept[node])
                    layers[layer] = _layer(layer, output, *pair, torch.zeros(()), results)
            found.append([layers[layer] for layer in sorted(layers)])
    return found


def difference_of(one: LayerContributions, other: LayerContributions) -> LayerContributions:
    """One layer's parts of the difference of two outputs.

    >>> import dualview as dv
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> net, x = dv.disentangle(model.double(), seed=0), torch.randn(1, 4).double()
    >>> (first,), (second,) = contributions_of_layers(net, x, outputs=[0, 1])
    >>> lead = difference_of(first, second)
    >>> abs(lead.through + lead.biases - lead.total) < 1e-12, lead.against
    (True, 1)
    """
    return replace(
        one,
        units=one.units - other.units,
        skips=one.skips - other.skips,
        biases=one.biases - other.biases,
        total=one.total - other.total,
        against=other.output,
    )


def _layer(
    layer: int,
    output: int,
    value: Tensor,
    of_biases: Tensor,
    gradient: Tensor,
    results: tuple[Tensor, Tensor],
) -> LayerContributions:
    total, total_of_biases = (float(result[output]) for result in results)
    units, from_biases = value * gradient, of_biases * gradient
    through, through_from_biases = float(units.sum()), float(from_biases.sum())
    biases = total_of_biases - through_from_biases
    skips = total - total_of_biases - (through - through_from_biases)
    sizes = float(units.abs().sum() + from_biases.abs().sum()) + abs(total) + abs(total_of_biases)
    return LayerContributions(
        output=output,
        layer=layer,
        name=f"gate_{layer + 1}",
        units=units[0].numpy(),
        skips=0.0 if abs(skips) <= ROUNDING * sizes else skips,
        biases=biases,
        total=total,
    )
