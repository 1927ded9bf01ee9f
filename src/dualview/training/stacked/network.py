"""Several fully connected networks of one shape as one module: each layer is one batched product.

A stack is called with the networks' own batches and answers with their own outputs; nothing passes
from one network to another, so each is trained as it would be alone.

Axes: network, example, unit. Inputs are (s, b, features), gates (s, b, units of all gated layers),
outputs (s, b, classes). A stacked weight is (s, inputs, outputs), the transpose of the layer's own,
so that its gradient comes out as it is stored; a stacked bias is (s, 1, outputs).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, fx, nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.training.settings import SettingsError

Activate = Callable[[int, Tensor], Tensor]
"""(layer, counted from 0; its values) -> what the next layer reads."""


class StackedLayers(nn.Module):
    """The linear layers of several networks, `networks[i][l]` being layer l of network i.

    Attributes:
        sources: the networks' own parameters, in the order of `parameters()`.
    """

    def __init__(self, networks: Sequence[Sequence[nn.Linear]]) -> None:
        super().__init__()
        layers = list(zip(*networks, strict=True))
        weights = [[linear.weight for linear in layer] for layer in layers]
        biases = [[linear.bias for linear in layer] for layer in layers]
        self.sources = [*weights, *biases]
        self.weights = nn.ParameterList(stacked(own) for own in weights)
        self.biases = nn.ParameterList(stacked(own) for own in biases)
        self.units = [weight.shape[2] for weight in self.weights]

    def forward(self, z: Tensor, activate: Activate) -> Tensor:
        """(s, b, features) -> (s, b, units of the last layer), which is not activated."""
        last = len(self.units) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = torch.baddbmm(bias, z, weight)
            if layer < last:
                z = activate(layer, z)
        return z


class ReluStack(nn.Module):
    """Plain ReLU networks."""

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = StackedLayers([linear_layers(net) for net in nets])
        self.sources = self.layers.sources

    def forward(self, x: Tensor, gates: Tensor | None = None) -> Tensor:
        """Outputs; there are no gates to give."""
        return self.layers(x, lambda _, z: torch.relu(z))


class FrozenGatesStack(nn.Module):
    """The weights networks of gated networks whose gates are given, since nothing changes them."""

    def __init__(self, nets: Sequence[GatedNetwork]) -> None:
        super().__init__()
        self.layers = StackedLayers([linear_layers(net.weights_network) for net in nets])
        self.sources = self.layers.sources

    def forward(self, x: Tensor, gates: Tensor) -> Tensor:
        """Outputs under the gates, which may be of any type."""
        each = gates.to(x.dtype).split(self.layers.units[:-1], dim=2)
        return self.layers(x, lambda layer, z: z * each[layer])


class LearntGatesStack(nn.Module):
    """Gated networks whose gating networks, ReLU networks themselves, are trained too."""

    def __init__(self, nets: Sequence[GatedNetwork]) -> None:
        super().__init__()
        self.gating = StackedLayers([linear_layers(net.gating_network) for net in nets])
        self.weights = StackedLayers([linear_layers(net.weights_network) for net in nets])
        self.gate: Any = nets[0].gate_functions[0]
        self.sources = [*self.gating.sources, *self.weights.sources]

    def forward(self, x: Tensor, gates: Tensor | None = None) -> Tensor:
        """Outputs under the gating networks' gates; none are to be given."""
        own: list[Tensor] = []

        def remember(layer: int, q: Tensor) -> Tensor:
            own.append(self.gate(q))
            return torch.relu(q)

        own.append(self.gate(self.gating(x, remember)))
        return self.weights(x, lambda layer, z: z * own[layer])


Stack = ReluStack | FrozenGatesStack | LearntGatesStack


def stack(nets: Sequence[nn.Module], features: int) -> Stack:
    """One module for all `nets`, with copies of their parameters.

    Args:
        nets: fully connected networks of one shape with biases: plain ReLU networks, or networks
            taken apart with kind "dgn", all with frozen or all with learnt gates.
        features: numbers in one example.

    Raises:
        SettingsError: they are no such networks; seen by comparing outputs.
    """
    for net in nets:
        _refuse_other_kinds(net)
    try:
        together = _class_for(nets[0])(nets)  # type: ignore[arg-type]
        same = _agree(together, nets, features)
    except (AttributeError, RuntimeError, ValueError, TypeError) as error:
        raise _refusal(f"{type(error).__name__}: {error}") from error
    if not same:
        raise _refusal("networks with other outputs than their linear layers would give")
    return together


def _refuse_other_kinds(net: nn.Module) -> None:
    """What would be trained otherwise than it is alone."""
    if isinstance(net, GatedNetwork) and net.kind != "dgn":
        raise _refusal(f"one of kind {net.kind!r}")
    trained = net.weights_network if has_frozen_gates(net) else net
    fixed = [name for name, p in trained.named_parameters() if not p.requires_grad]
    if fixed:
        raise _refusal(f"one whose parameter {fixed[0]!r} is frozen")


def _refusal(got: str) -> SettingsError:
    return SettingsError(
        "networks trained in one pass: expected fully connected ReLU networks of one shape with "
        f"biases, or such networks taken apart with kind='dgn', got {got}. Repair: train them one "
        "by one"
    )


def has_frozen_gates(net: nn.Module) -> TypeGuard[GatedNetwork]:
    """Whether `net` is a gated network of whose gating network nothing is trained."""
    return isinstance(net, GatedNetwork) and not any(
        parameter.requires_grad for parameter in net.gating_network.parameters()
    )


def _class_for(net: nn.Module) -> type[Stack]:
    if not isinstance(net, GatedNetwork):
        return ReluStack
    return FrozenGatesStack if has_frozen_gates(net) else LearntGatesStack


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """The linear layers, in the order in which they run."""
    if isinstance(network, fx.GraphModule):
        called = [node for node in network.graph.nodes if node.op == "call_module"]
        modules = [network.get_submodule(str(node.target)) for node in called]
    else:
        modules = list(network.modules())
    return [module for module in modules if isinstance(module, nn.Linear)]


@torch.no_grad()
def gate_bytes(net: GatedNetwork, images: Tensor) -> Tensor:
    """The hard gates of all layers, (n, units), as uint8.

    Args:
        net: fully connected.
        images: (n, c, h, w).
    """
    return torch.cat([gates.flatten(1) for gates in net.gates(images)], dim=1).to(torch.uint8)


def stacked(parameters: Sequence[Tensor]) -> Tensor:
    """Weights (outputs, inputs) as (s, inputs, outputs), biases (outputs,) as (s, 1, outputs)."""
    return torch.stack([p.detach().t() if p.dim() == 2 else p.detach()[None] for p in parameters])


@torch.no_grad()
def _agree(together: Stack, nets: Sequence[nn.Module], features: int) -> bool:
    """Whether the stack gives the networks' outputs, on two examples of noise."""
    like = next(together.parameters())
    noise = torch.rand(2, features, generator=torch.Generator().manual_seed(0))
    x = noise.to(like.device, like.dtype)
    own = torch.stack([net(x) for net in nets])
    gates = None
    if isinstance(together, FrozenGatesStack):
        gates = torch.stack([gate_bytes(net, x) for net in nets if isinstance(net, GatedNetwork)])
    outputs = together(x.expand(len(nets), -1, -1), gates)
    return torch.allclose(outputs, own, rtol=1e-3, atol=1e-4)
