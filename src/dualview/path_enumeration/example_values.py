"""What a gated network gives its weights network for some examples: input, gates and switches.

All in float64, on the CPU and in evaluation mode; the network stays as it is.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from dualview.conversion.finite import check_network, preactivation_check
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.modes import evaluation_mode
from dualview.conversion.pooling import MaxPool, max_pool_switch, switched_pools
from dualview.conversion.source_lines import describe
from dualview.conversion.weights_graph import reads_multiplier
from dualview.errors import ExampleInputError, PathKernelError, UnsupportedOperationError
from dualview.path_enumeration.edges import GateUnit

GateMode = Literal["model", "hard"]


def evaluated_inputs(
    net: GatedNetwork, x: Tensor, gates: GateMode = "model", *, name: str = "x"
) -> dict[str, Tensor]:
    """The weights network's inputs by placeholder: x, gate_1 ..., switch_1 ....

    Args:
        net: a gated network.
        x: examples, (n, ...).
        gates: the network's own, or "hard": 1{q > 0} of its pre-activations.
        name: of what the caller was given, for messages.

    Returns:
        Tensors of n examples; "x" is 1 everywhere if the weights network reads ones.

    Raises:
        PathKernelError: parameters or pre-activations that are not finite, or examples that the
            network does not take.
        UnsupportedOperationError: the network has LayerNorm or attention.
    """
    _refuse_multipliers(net)
    check_network(net, PathKernelError)
    own = net if _is_exact(net) else copy.deepcopy(net).cpu().double()
    x = x.detach().cpu().double()
    try:
        with torch.no_grad(), evaluation_mode(own):
            check = preactivation_check(name, PathKernelError)
            of_gates, of_switches = own.gates_and_switches(x, hard=gates == "hard", check=check)
    except ExampleInputError as error:
        raise PathKernelError(
            f"{name}: expected what the network takes, got one example of shape "
            f"{tuple(x.shape[1:])} ({error})"
        ) from error
    if own.input_transform is not None:
        axes = (1, -1, *(1,) * (x.dim() - 2))
        x = (x - own.input_transform.mean.reshape(axes)) / own.input_transform.std.reshape(axes)
    values = {"x": torch.ones_like(x) if own.weights_input == "ones" else x}
    values |= {f"gate_{k}": gate for k, gate in enumerate(of_gates, start=1)}
    return values | {f"switch_{k}": switch for k, switch in enumerate(of_switches, start=1)}


def _is_exact(net: GatedNetwork) -> bool:
    """Whether it computes in float64 on the CPU as it stands."""
    tensors = [t for t in (*net.parameters(), *net.buffers()) if t.is_floating_point()]
    return all(t.dtype == torch.float64 and t.device.type == "cpu" for t in tensors)


def _refuse_multipliers(net: GatedNetwork) -> None:
    node = reads_multiplier(net.weights_network)
    if node is not None:
        raise UnsupportedOperationError(
            f"{describe(node)}: LayerNorm and attention multiply by more than one factor a layer, "
            f"and paths are enumerated through weights, gates and max-pool switches only. Repair: "
            f"dv.npk_features works for any weights network; dv.layer_contributions and "
            f"dv.input_contributions take a logit of one apart"
        )


def gate_column(gate: GateUnit, inputs: Mapping[str, Tensor]) -> Tensor:
    """The values of one gate for every example: (n,)."""
    values = entry_column(inputs[gate.site], gate.coordinates)
    return values.double() if gate.chosen is None else (values == gate.chosen).double()


def entry_column(values: Tensor, coordinates: tuple[int, ...]) -> Tensor:
    """One entry of every example: (n, ...) -> (n,)."""
    return values.movedim(0, -1)[coordinates]


def switch_windows(net: GatedNetwork) -> dict[str, Callable[[Sequence[int]], Tensor]]:
    """For each switch, a function: (positions...) -> which positions each window holds.

    It answers with booleans of shape (pooled positions, positions), both flat: a lone peak is
    chosen by every window that holds it.
    """
    pools = switched_pools(net.gating_network.graph)
    return {name: functools.partial(_windows, pool) for name, pool in pools.items()}


def _windows(pool: MaxPool, positions: Sequence[int]) -> Tensor:
    count = math.prod(positions)
    peaks = torch.eye(count, dtype=torch.float64).view(count, 1, *positions)
    chosen = max_pool_switch(peaks, pool.dims, pool.adaptive, **pool.options)
    return (chosen.flatten(1) == torch.arange(count).unsqueeze(1)).T
