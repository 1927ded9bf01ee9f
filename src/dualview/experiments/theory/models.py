"""The small networks that the statements are tried on, and what is needed to name their weights.

Networks and examples are float64 and come from PyTorch's global random state, which the caller
seeds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dualview.conversion.disentangling import disentangle
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.operations import BATCH_NORM_MODULES
from dualview.path_kernel.kernel import weight_layers

Padding = Literal["circular", "zeros"]


def normal(*shape: int) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(*shape, dtype=torch.float64)


def taken_apart(model: nn.Module, kind: str = "dlgn", **options: Any) -> GatedNetwork:
    """`model` taken apart, in float64 and evaluation mode."""
    drawn = {} if kind == "dnn" else {"weights": "fresh"}
    return disentangle(model.double().eval(), kind, **drawn, **options)  # type: ignore[arg-type]


def chain(widths: Sequence[int]) -> nn.Sequential:
    """Dense layers without biases, gates between them: `widths` from the input to the output."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias=False), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolutions(
    channels: Sequence[int], dense: Sequence[int], padding: Padding = "circular", dims: int = 2
) -> nn.Sequential:
    """Convolutions of kernel size 3 and stride 1, global average pooling, dense layers; no biases.

    Args:
        channels: from the input to the last convolution.
        dense: units of the dense layers that follow, to the output.
        padding: "circular" or "zeros".
        dims: position axes, 1 or 2.
    """
    convolution, pool = (
        (nn.Conv1d, nn.AdaptiveAvgPool1d) if dims == 1 else (nn.Conv2d, nn.AdaptiveAvgPool2d)
    )
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(channels):
        layer = convolution(inputs, outputs, 3, padding=1, padding_mode=padding, bias=False)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers, pool(1), nn.Flatten(), *chain((channels[-1], *dense)))


class Residual(nn.Module):
    """b + 2 blocks of `depth` dense layers; skip connections bypass all but the first and last."""

    def __init__(self, bypassed: int, depth: int, inputs: int, width: int) -> None:
        super().__init__()
        self.first = self._block([inputs] + [width] * depth)
        self.blocks = nn.ModuleList(self._block([width] * (depth + 1)) for _ in range(bypassed))
        self.last = chain([width] * depth + [1])

    @staticmethod
    def _block(widths: Sequence[int]) -> nn.Sequential:
        return chain(widths).append(nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) -> (n, 1)."""
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)


def enliven(model: nn.Module) -> nn.Module:
    """Give batch norms statistics and scales of their own: at their start they do nothing."""
    for module in model.modules():
        if isinstance(module, BATCH_NORM_MODULES):
            tensors: Any = module
            for scale in (tensors.running_var, tensors.weight.data):
                scale.uniform_(0.5, 2.0)
            for shift in (tensors.running_mean, tensors.bias.data):
                shift.normal_()
    return model


def parameter_names(net: GatedNetwork) -> dict[str, str]:
    """Node name of each weight layer -> name of its weights in the weights network."""
    nodes = {node.name: node for node in net.weights_network.graph.nodes}
    return {name: f"{nodes[name].target}.weight" for name in weight_layers(net)}


def scales(net: GatedNetwork, variances: Mapping[str, float] | float) -> dict[str, float]:
    """The c of every weight layer that gives its weights c^2 / fan-in = a variance.

    Args:
        net: the network.
        variances: one for all, or by parameter name.
    """
    names = parameter_names(net)
    given = dict.fromkeys(names.values(), variances) if isinstance(variances, float) else variances
    return {
        node: math.sqrt(inputs * given[names[node]]) for node, inputs in weight_layers(net).items()
    }


def unequal_variances(net: GatedNetwork) -> dict[str, float]:
    """A variance for every parameter: of its own for each weight layer, and 1 for biases."""
    ones = dict.fromkeys((name for name, _ in net.weights_network.named_parameters()), 1.0)
    layers = {name: 0.3 + 0.2 * k for k, name in enumerate(parameter_names(net).values())}
    return {**ones, **layers}
