"""Fresh independent weights for a weights network: what the kernels are expectations over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from dualview.arguments import flag, instance_of, named, number, optional, seed_number, takes, whole
from dualview.conversion.copying import copied
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.leaf import leaf
from dualview.conversion.operations import BATCH_NORM_MODULES
from dualview.conversion.source_lines import module_of
from dualview.errors import PathKernelError
from dualview.path_kernel.examples import BatchNorm
from dualview.path_kernel.parameters import addends, check_drawable, fan_ins, roles


def kernel_network(
    net: GatedNetwork, *, batch_norm: BatchNorm = "identity", biases: bool = False
) -> fx.GraphModule:
    """A copy of the weights network as the kernels take it, in evaluation mode.

    Args:
        net: the network; nothing in it is changed.
        batch_norm: "identity", or "scale" for gamma / sqrt(running variance + eps) as a constant
            factor. Its running mean plays no part, its bias is one of the biases.
        biases: whether what is added counts; else the network has no biases and adds no constants.

    Raises:
        PathKernelError: a batch norm without running statistics is to scale.
    """
    network = copied(net.weights_network).eval()
    for name, module in list(network.named_modules()):
        if isinstance(module, BATCH_NORM_MODULES):
            fixed = FixedBatchNorm(module, batch_norm == "scale", biases, name)
            network.add_submodule(name, fixed)
    if not biases:
        _leave_out_biases(network)
    return network


class FixedBatchNorm(nn.Module):
    """Batch norm as the kernels take it: a constant factor, and a bias that may be drawn.

    x is (n, channels, *positions).
    """

    def __init__(self, norm: nn.Module, scaled: bool, biased: bool, name: str) -> None:
        super().__init__()
        given: Any = norm
        self.bias = given.bias if biased else None
        scale = None
        if scaled:
            if given.running_var is None:
                raise PathKernelError(
                    f"batch norm '{name}': it keeps no running statistics, so it has no scale of "
                    f"its own. Repair: batch_norm='identity', or track_running_stats=True"
                )
            scale = torch.rsqrt(given.running_var + given.eps)
            scale = scale if given.weight is None else scale * given.weight.detach()
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """Scaled and shifted x, of its shape."""
        shape = (-1, *(1,) * (x.dim() - 2))
        scale: Any = self.scale
        x = x if scale is None else x * scale.to(x.dtype).view(shape)
        return x if self.bias is None else x + self.bias.view(shape)


@leaf
def nothing(value: Any) -> Any:
    """Zeros in place of what is added."""
    return torch.zeros_like(value) if isinstance(value, Tensor) else 0


def _leave_out_biases(network: fx.GraphModule) -> None:
    """Zeros for the biases of layers, and for whatever the graph adds."""
    with torch.no_grad():
        for node in network.graph.nodes:
            if node.op == "call_module":
                bias = getattr(module_of(node), "bias", None)
                if isinstance(bias, nn.Parameter):
                    bias.zero_()
    for node, argument in list(addends(network.graph)):
        if isinstance(argument, fx.Node):
            with network.graph.inserting_before(node):
                zeros = network.graph.call_function(nothing, (argument,))
            node.replace_input_with(argument, zeros)
        else:
            node.args = tuple(a if isinstance(a, fx.Node) else nothing(a) for a in node.args)
            terms = {"input", "other"}.intersection(node.kwargs)
            numbers = [name for name in terms if not isinstance(node.kwargs[name], fx.Node)]
            node.kwargs = {**node.kwargs, **dict.fromkeys(numbers, 0)}
    network.recompile()


@takes(
    PathKernelError,
    network=instance_of(nn.Module),
    seed=seed_number,
    draw=whole(0),
    variances=optional(named(number(least=0), "a variance for each parameter, by its name")),
    biases=flag,
    bias_variance=number(least=0),
)
def draw_weights(
    network: nn.Module,
    seed: int,
    draw: int = 0,
    *,
    variances: dict[str, float] | None = None,
    biases: bool = False,
    bias_variance: float = 1.0,
) -> dict[str, Tensor]:
    """Independent normal weights for every layer, as a parameter dictionary.

    Args:
        network: a module; nothing in it is changed.
        seed: whole number.
        draw: number of the draw; any one can be made without those before it.
        variances: name of a weight parameter -> variance; default 1 / fan-in.
        biases: draw biases; else they are 0.
        bias_variance: theirs.

    Returns:
        Name -> tensor, for `torch.func.functional_call`.

    Raises:
        PathKernelError: a parameter is weight and constant at once, or weights are made of one by
            an operation that is not linear.
    """
    deviations = weight_deviations(
        network, variances=variances, biases=biases, bias_variance=bias_variance
    )
    return draw_of(network, deviations, seed, draw)


def weight_deviations(
    network: nn.Module,
    *,
    variances: dict[str, float] | None = None,
    biases: bool = False,
    bias_variance: float = 1.0,
) -> dict[str, float | None]:
    """Parameter name -> standard deviation of its entries; None: a constant. See `draw_weights`."""
    check_drawable(network, biases=biases)
    role, inputs = roles(network), fan_ins(network)
    deviations: dict[str, float | None] = dict.fromkeys(role)
    for name in role:
        if role[name] == "bias":
            deviations[name] = math.sqrt(bias_variance) if biases else 0.0
        elif role[name] == "weight":
            variance = 1 / inputs[name] if variances is None else variances[name]
            deviations[name] = math.sqrt(variance)
    return deviations


def draw_of(
    network: nn.Module, deviations: Mapping[str, float | None], seed: int, draw: int
) -> dict[str, Tensor]:
    """Draw number `draw` of `draw_weights`, for many draws of one network."""
    state = np.random.SeedSequence([seed, draw]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
    drawn: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        deviation = deviations[name]
        if deviation is None:
            drawn[name] = parameter.detach()
            continue
        # Drawn on the CPU, so that a seed means the same on every device.
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        drawn[name] = (values * deviation).to(parameter)
    return drawn
