"""Units rescaled until they are balanced: another network of the same function.

Whatever the gates, a unit's incoming weights (and its bias) times c and its outgoing ones divided
by c leave every path value, and so every output, as it is. A unit is balanced where both have one
norm; the network whose units all are has the smallest sum of squared weights of all that can be
reached so, and its weights can be compared between units.

A unit here is a channel of a gated layer of the weights network. It is rescaled where its layer,
its own batch norm, and all that reads it are known: dense or convolutional layers behind pools,
dropout and flattening. Units that a skip connection ties to others keep their scale.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from dualview.arguments import number, takes, whole
from dualview.conversion.examples import gated
from dualview.conversion.finite import check_network
from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import HardGate, LeakyGate, ParametricGate, apply_gate
from dualview.conversion.normal_form import UNCHANGED, normal_call
from dualview.conversion.source_lines import module_of
from dualview.errors import PathKernelError

_PASSED = (*UNCHANGED, "average pool", "adaptive average pool", "switch", "flatten", "mean")
"""Keys of what keeps channels apart and in their order, and is linear in each."""

_STEPS = (HardGate, LeakyGate, ParametricGate)

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@takes(PathKernelError, net=gated, sweeps=whole(1, 10**6), tolerance=number(above=0))
def rescaled(net: GatedNetwork, *, sweeps: int = 1000, tolerance: float = 1e-9) -> GatedNetwork:
    """The same function, with the units of the weights network balanced.

    Args:
        net: a gated network; it stays as it is. Gates are the same: only the copy's weights network
            changes, and where it shares its parameters with the gating network (kind "dnn"), that
            keeps its own unless its gates are steps, which no positive factor moves.
        sweeps: most times that all units are gone through.
        tolerance: of the norms' ratio, at which a sweep is the last.

    Returns:
        A copy in which the weights of every unit that can be rescaled have one norm coming in and
        going out, as far as `sweeps` allow. Its path values, and all that is made of them (outputs,
        path norms, contributions of paths), are those of `net`, to rounding. A unit without
        incoming or without outgoing weights keeps its scale.

    Raises:
        PathKernelError: the network is none, or its parameters are not finite.

    Source: theory, section 11; arXiv 1902.10416 (equi-normalisation).

    >>> import dualview as dv
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    >>> net, x = dv.disentangle(model, "dnn"), torch.randn(3, 4).double()
    >>> found = rescaled(net)
    >>> first, last = (p for p in found.weights_network.parameters() if p.dim() == 2)
    >>> bool(torch.allclose(first.norm(dim=1), last.norm(dim=0)))
    True
    >>> bool(torch.allclose(found(x), net(x)))
    True
    """
    check_network(net, PathKernelError)
    found = copy.deepcopy(net)
    if not all(isinstance(gate, _STEPS) for gate in net.gate_functions):
        found.weights_network = copy.deepcopy(net.weights_network)
    layers = list(_gated_layers(found.weights_network))
    with torch.no_grad():
        for _ in range(sweeps):
            moved = [layer.balance() for layer in layers]
            if max(moved, default=0.0) <= tolerance:
                break
    return found


@dataclass(frozen=True)
class _Layer:
    """The units of one gated layer: what makes them, and what reads them."""

    source: Any
    norm: Any
    readers: tuple[nn.Module, ...]
    channels: int

    def balance(self) -> float:
        """Balance every unit against its neighbours as they are; the largest |log ratio| before."""
        own: Tensor = self.source.weight.flatten(1)
        incoming = own.norm(dim=1)
        if self.norm is not None:
            incoming = incoming * self.norm.weight.abs()
        squares = [_columns(reader, self.channels).square().sum((0, 2)) for reader in self.readers]
        outgoing = torch.stack(squares).sum(0).sqrt()
        usable = (incoming > 0) & (outgoing > 0)
        scale = torch.where(usable, outgoing / incoming, 1.0).nan_to_num(1.0).sqrt()
        self._rescale(scale)
        return float(scale.log().abs().max()) if len(scale) else 0.0

    def _rescale(self, scale: Tensor) -> None:
        maker = self.norm if self.norm is not None else self.source
        for name in ("weight", "bias"):
            values = getattr(maker, name)
            if values is not None:
                values.mul_(scale.reshape(-1, *(1,) * (values.dim() - 1)))
        for reader in self.readers:
            _columns(reader, self.channels).div_(scale[:, None])


def _columns(reader: nn.Module, channels: int) -> Tensor:
    """The weights that read each channel: (outputs, channels, positions), a view."""
    weight: Any = reader.weight
    return weight.view(weight.shape[0], channels, -1)


def _gated_layers(network: fx.GraphModule) -> Iterator[_Layer]:
    """Those whose units can be rescaled."""
    uses = Counter(id(_module(node)) for node in network.graph.nodes)
    held = Counter(id(p) for _, p in network.named_parameters(remove_duplicate=False))
    for node in network.graph.find_nodes(op="call_function", target=apply_gate):
        made, readers = _made_by(normal_call(node)["input"]), _read_by(node)
        if made is None or not readers:
            continue
        source, norm = made
        all_modules = [m for m in (source, norm, *readers) if m is not None]
        tensors = [p for m in all_modules for p in m.parameters(recurse=False)]
        once = all(uses[id(m)] == 1 for m in all_modules)
        if once and all(held[id(p)] == 1 for p in tensors):
            yield _Layer(source, norm, readers, len(source.weight))


def _module(node: fx.Node) -> nn.Module | None:
    return module_of(node) if node.op == "call_module" else None


def _made_by(node: fx.Node) -> tuple[Any, Any] | None:
    """The layer that makes a gated layer's values, and its batch norm, if none else reads them."""
    norm: Any = None
    while len(node.users) == 1:
        module, key = _module(node), normal_call(node).key
        if isinstance(module, (nn.Linear, *_CONVOLUTIONS)):
            return module, norm
        if key == "batch norm" and norm is None and getattr(module, "affine", False):
            norm = module
        elif key not in UNCHANGED:
            return None
        node = normal_call(node)["input"]
        if not isinstance(node, fx.Node) or node.op == "placeholder":
            return None
    return None


def _read_by(node: fx.Node) -> tuple[nn.Module, ...]:
    """All layers that read a gated layer; none where something else does, too."""
    found: list[nn.Module] = []
    for user in node.users:
        module = _module(user)
        if isinstance(module, nn.Linear) or (
            isinstance(module, _CONVOLUTIONS) and module.groups == 1
        ):
            found.append(module)
        elif (
            user.op != "output" and normal_call(user).key in _PASSED and (deeper := _read_by(user))
        ):
            found += deeper
        else:
            return ()
    return tuple(found)
