"""Weights networks that are chains of dense and convolutional layers, a gate between two.

`read_chain` says of each weight layer which positions it reads, pools and pads on its way included:
R_k for every weight offset k, found by running the network's own operations on one channel that is
1 at one position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from torch import Tensor, fx, nn

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.gates import apply_gate
from dualview.conversion.normal_form import UNCHANGED, Call, normal_call
from dualview.conversion.operations import CONVOLUTION_MODULES
from dualview.conversion.source_lines import called, describe, module_of
from dualview.errors import PathKernelError

_NOTHING = (*UNCHANGED, "ones", "spread", "size", "batch norm")
"""Keys of what a chain without biases and scales passes unchanged."""
_SUMS = ("mean", "sum")
_POOLS = ("average pool", "adaptive average pool", "interpolate", "pad", *_SUMS)
"""Keys of what treats every channel alike, and may make other positions of its positions."""


@dataclass(frozen=True)
class ChainLayer:
    """A weight layer of a chain.

    Attributes:
        name: of its node.
        units: channels that it reads.
        maps: (offsets, positions made, positions read); float64.
    """

    name: str
    units: int
    maps: Tensor

    @property
    def inputs(self) -> int:
        """How many weights one unit has."""
        return self.units * len(self.maps)


@dataclass(frozen=True)
class Chain:
    """The layers, and whether the first reads the whole input as channels of one position."""

    layers: tuple[ChainLayer, ...]
    flat_input: bool


def read_chain(net: GatedNetwork, example: Tensor, *, shapes_only: bool = False) -> Chain:
    """The chain that a weights network is, for inputs like this one (channels, *positions).

    Args:
        net: the network.
        example: one input; its shape alone counts.
        shapes_only: maps without numbers, on the meta device: those of large images are large.

    Raises:
        PathKernelError: it is another network.
    """
    walk = _Walk.start(example, "meta" if shapes_only else "cpu")
    for node in net.weights_network.graph.nodes:
        if node.op == "placeholder" or node.op == "get_attr":
            continue
        if node.op == "output":
            if isinstance(node.args[0], fx.Node) and walk.layers and not walk.gated:
                walk = walk.folded()
                if math.prod(walk.seen.shape[1:]) == 1:
                    return Chain(walk.layers, walk.flat_input)
            break
        walk = _after(walk, node)
    raise PathKernelError(
        "net: expected a chain of dense layers and convolutions that ends in one, with no "
        "positions left. Repair: estimate the variance, dualview.ntk_spread(net, x)"
    )


@dataclass(frozen=True)
class _Walk:
    """The layers so far, and what stands behind the last.

    Attributes:
        channels: of the signal here.
        seen: (P, 1, *positions), or (P, positions) once flat: what a signal that is 1 at one of the
            P positions behind the last weights or gate has become.
        gated: whether a gate stands behind the last weights; of the input, that weights come next.
    """

    layers: tuple[ChainLayer, ...]
    channels: int
    seen: Tensor
    gated: bool = True
    flat_input: bool = False

    @classmethod
    def start(cls, example: Tensor, device: str) -> _Walk:
        positions = tuple(example.shape[1:])
        return cls((), len(example), _units(positions, device), flat_input=not positions)

    def units(self, *positions: int) -> Tensor:
        """`seen` where each position is still its own."""
        return _units(positions, self.seen.device)

    def folded(self) -> _Walk:
        """What stands behind the last weights, made a part of their reading."""
        last = self.layers[-1]
        matrix = self.seen.flatten(1).mT  # (positions here, P)
        layers = (*self.layers[:-1], replace(last, maps=matrix @ last.maps))
        return replace(self, layers=layers, seen=self.units(*self.seen.shape[2:]))


def _units(positions: tuple[int, ...], device: str | torch.device) -> Tensor:
    count = math.prod(positions)
    return torch.eye(count, dtype=torch.float64, device=device).reshape(count, 1, *positions)


def _after(walk: _Walk, node: fx.Node) -> _Walk:
    """What one operation makes of it."""
    call, module = normal_call(node), module_of(node) if node.op == "call_module" else None
    if call.key in _NOTHING:
        return walk
    if isinstance(module, nn.Linear) and walk.gated:
        return _dense(walk, node, module)
    if isinstance(module, CONVOLUTION_MODULES) and walk.gated and walk.seen.dim() > 2:
        return _convolution(walk, node, module)
    if node.target is apply_gate and not walk.gated:
        return replace(walk.folded(), gated=True)
    if call.key in ("flatten", "reshape"):
        if not walk.layers:
            count = walk.channels * walk.seen.shape[0]
            return replace(walk, channels=count, seen=walk.units(), flat_input=True)
        return replace(walk, seen=walk.seen.flatten(1))
    if call.key in _POOLS and walk.seen.dim() > 2 and _of_positions(call):
        return replace(walk, seen=_run(node, walk.seen))
    return _refuse(node)


def _of_positions(call: Call) -> bool:
    """Whether it is linear and leaves examples and channels apart."""
    if call.key == "pad":
        return not (call["mode"] == "constant" and call["value"])
    if call.key not in _SUMS:
        return True
    dims = call.get("dim")
    axes = [dims] if isinstance(dims, int) else dims or [0]
    return all(axis > 1 or axis == -1 for axis in axes)


def _run(node: fx.Node, seen: Tensor) -> Tensor:
    """The operation itself, on one channel."""
    if len(node.all_input_nodes) != 1:
        _refuse(node)
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda _: seen)
    result: Tensor = called(node, args, kwargs)
    if result.shape[:2] != seen.shape[:2]:  # it reaches over channels
        _refuse(node)
    return result


def _dense(walk: _Walk, node: fx.Node, module: nn.Linear) -> _Walk:
    """Every position and channel has a weight of its own."""
    if walk.seen.dim() > 2 or walk.seen.shape[1] * walk.channels != module.in_features:
        _refuse(node)
    maps = walk.seen.mT[:, None]
    layer = ChainLayer(node.name, walk.channels, maps)
    return _behind(walk, layer, module.out_features, ())


def _convolution(walk: _Walk, node: fx.Node, module: Any) -> _Walk:
    """Every offset reads one position for each that is made."""
    if module.groups != 1 or module.in_channels != walk.channels:
        _refuse(node)
    count = math.prod(module.kernel_size)
    options = ("stride", "padding", "dilation", "padding_mode")
    given = {name: getattr(module, name) for name in options}
    one = type(module)(1, count, module.kernel_size, bias=False, **given)
    one = one.to(walk.seen)
    with torch.no_grad():
        one.weight.copy_(torch.eye(count).reshape(one.weight.shape))
        made = one(walk.seen)  # (P, offsets, *positions)
    layer = ChainLayer(node.name, walk.channels, made.flatten(2).permute(1, 2, 0))
    return _behind(walk, layer, module.out_channels, tuple(made.shape[2:]))


def _behind(walk: _Walk, layer: ChainLayer, channels: int, positions: tuple[int, ...]) -> _Walk:
    return replace(
        walk,
        layers=(*walk.layers, layer),
        channels=channels,
        seen=walk.units(*positions),
        gated=False,
    )


def _refuse(node: fx.Node) -> NoReturn:
    raise PathKernelError(
        f"{describe(node)}: the NTK's variance is known in closed form for chains of dense layers "
        f"and convolutions with a gate between two, and average pools. Repair: estimate it, "
        f"dualview.ntk_spread(net, x)"
    )
