"""What every gated layer adds to some outputs, by two runs of the weights network in all.

`layer_contributions` explains one layer of one output. With gates fixed the
gradient in a layer's activations is the same whatever they are, so one run on the example, one on
an input of 0, where only biases speak, and one gradient an output tell of all layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import apply_gate
from dualview.path_attribution.affine_run import AffineRun, Change
from dualview.path_attribution.contributions import LayerContributions
from dualview.path_attribution.example import OneExample, one_example

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
    example = one_example(net, x)
    with torch.enable_grad():
        values, result = _run(example, zero_input=False)
    with torch.no_grad():
        of_biases, result_of_biases = _run(example, zero_input=True)
    found = []
    for output in outputs:
        gradients = torch.autograd.grad(
            result[output], values, retain_graph=True, allow_unused=True
        )
        found.append(
            [
                _layer(layer, output, value, bias, gradient, (result, result_of_biases))
                for layer, (value, bias, gradient) in enumerate(
                    zip(values, of_biases, gradients, strict=True)
                )
            ]
        )
    return found


def _run(example: OneExample, zero_input: bool) -> tuple[list[Tensor], Tensor]:
    """Every gated layer's activations, and the outputs, flat."""
    kept: dict[int, Tensor] = {}

    def keeper(layer: int) -> Change:
        def keep(value: Tensor) -> Tensor:
            kept[layer] = value
            return value.clone()  # what follows may change it in place

        return keep

    def begin(value: Tensor) -> Tensor:
        start = torch.zeros_like(value) if zero_input else value.detach()
        return start.requires_grad_(torch.is_grad_enabled())

    nodes = _gate_nodes(example.network)
    changes = {node: keeper(layer) for layer, node in nodes.items()}
    run = AffineRun(example, {**changes, example.input_node: begin})
    return [kept[layer] for layer in sorted(kept)], run.result.reshape(-1)


def _layer(
    layer: int,
    output: int,
    value: Tensor,
    of_biases: Tensor,
    gradient: Tensor | None,
    results: tuple[Tensor, Tensor],
) -> LayerContributions:
    total, total_of_biases = (float(result[output].detach()) for result in results)
    gradient = torch.zeros_like(value) if gradient is None else gradient
    units, from_biases = value.detach() * gradient, of_biases * gradient
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


def _gate_nodes(network: fx.GraphModule) -> dict[int, fx.Node]:
    """Number of each gated layer -> the multiplication by its gates."""
    found = {}
    for node in network.graph.nodes:
        if node.target is apply_gate:
            gate = node.args[1]
            assert isinstance(gate, fx.Node)
            found[int(str(gate.target).rpartition("_")[2]) - 1] = node
    return found
