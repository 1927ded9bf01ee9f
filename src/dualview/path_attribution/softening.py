"""A network whose gates are softened, and nothing else: the path sum under other gates.

The gating network is run as it is, with its own hard gates inside; only what the weights network is
multiplied by changes, from 1{q > 0} to sigmoid(beta * q). Contributions of the result are those of
paths that are nearly open, too, and weigh less where a gate is nearly shut.

Source: excitation pullbacks, arXiv 2507.22832; theory, section 12.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import Gate, HardGate, LeakyGate, ParametricGate, SoftGate
from dualview.errors import PathKernelError


class _SoftLeaky(Gate):
    """`slope + (1 - slope) * sigmoid(beta * q)`, where `gate` is `slope` for all q below 0."""

    def __init__(self, gate: LeakyGate | ParametricGate, beta: float) -> None:
        super().__init__()
        self.gate = gate
        self.beta = beta

    def forward(self, q: Tensor) -> Tensor:
        slope = self.gate(q.new_full((), -1.0).expand_as(q))
        return slope + (1 - slope) * (self.beta * q).sigmoid()


def softened(net: GatedNetwork, beta: float) -> GatedNetwork:
    """The same network, sharing its two networks, with gates sigmoid(beta * q) for 1{q > 0}.

    Args:
        net: of hard, leaky or sigmoid gates; the last get this beta.
        beta: steepness, in units of 1 / pre-activation.

    Raises:
        PathKernelError: a gate of another kind, which is no step to be softened.

    >>> import torch
    >>> import dualview as dv
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> net, x = dv.disentangle(model, "dnn"), torch.randn(1, 4)
    >>> (q,), (gate,) = net.preactivations(x), softened(net, beta=3.0).gates(x)
    >>> torch.equal(gate, torch.sigmoid(3 * q))
    True
    """
    rest = copy.copy(net)
    gates = nn.ModuleList(_softened(gate, beta, i) for i, gate in enumerate(net.gate_functions))
    rest._modules = {**net._modules, "gate_functions": gates.train(net.training)}
    return rest


def _softened(gate: nn.Module, beta: float, layer: int) -> nn.Module:
    if isinstance(gate, SoftGate):
        return SoftGate(beta, gate.eps)
    if isinstance(gate, HardGate):
        return SoftGate(beta)
    if isinstance(gate, LeakyGate | ParametricGate):
        return _SoftLeaky(gate, beta)
    raise PathKernelError(
        f"soften: expected gates that are steps, got {gate} in layer {layer}. Repair: soften=None; "
        f"the gates of this activation are smooth as they are"
    )
