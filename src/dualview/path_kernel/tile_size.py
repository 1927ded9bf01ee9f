"""How many examples a tile of the general rules may have, found before any number is computed.

The rules are run on meta tensors, which hold no numbers: their shapes tell what a tile takes. That
takes longer than a small kernel itself, so one that fits many times over is told by its layers.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils.flop_counter import FlopCounterMode

from dualview.conversion.memory_meter import MemoryMeter
from dualview.errors import DualviewError, PathKernelError
from dualview.path_kernel.propagate import Side, propagate
from dualview.path_kernel.setting import Setting

OPERATIONS_A_SECOND = 2e10
"""Sums of products of a CPU, roughly: estimates only."""

BYTES_A_SECOND = 2e9
"""Read and written by a CPU, roughly: estimates only."""

SURE = 64e6
"""Bytes that a pair may be tried with."""

AMPLE = 8
"""How many times over a tile that is not measured fits; measured ones hardly take it once."""

FEW = 64
"""Entries that make no difference: padding, and what the rules hold besides."""

SHRINK = 0.8
"""What a tile that is too large is tried again with."""


@dataclass(frozen=True)
class Cost:
    """Of a tile: bytes held at once, its examples included, and seconds."""

    nbytes: float
    seconds: float


def tile_size(
    network: fx.GraphModule, one: Side, other: Side, setting: Setting, memory: float, most: int
) -> int:
    """Examples on each side of a tile that takes at most `memory` bytes; at most `most`.

    Args:
        network: a weights network in evaluation mode.
        one: one example of the first side.
        other: one example of the second side.
        setting: what the weights are drawn from.
        memory: bound in bytes.
        most: bound on the size.

    Raises:
        PathKernelError: one pair takes more than `memory` bytes, or an operation has no rule.
    """

    def cost(size: int) -> float:
        return cost_of(network, one, other, setting, size).nbytes

    if _fits_amply(network, one, most, memory) or cost(most) <= memory:
        return most
    single, few = cost(1), cost(4)
    if single > memory:
        seconds = cost_of(network, one, other, setting, 1, timed=True).seconds
        raise too_large(single, seconds, memory)
    square, linear = max(few - 4 * single, 0) / 12, max(16 * single - few, 0) / 12
    root = (math.sqrt(linear**2 + 4 * square * memory) - linear) / (2 * square or 1)
    size = min(max(1, int(root if square else memory / linear)), most)
    while size > 1 and cost(size) > memory:
        size = max(1, int(size * SHRINK))
    return size


def _fits_amply(network: fx.GraphModule, one: Side, size: int, memory: float) -> bool:
    """Whether there is room for kernels between all entries of all values held at once, and more.

    Of the network's values only the shapes count; it is not run where the gates alone say no.
    """
    pair = size**2 * one.x.element_size()
    held = sum(_bytes(tensor) for tensor in (*network.parameters(), *network.buffers()))

    def fits(values: int, entries: int) -> bool:
        return AMPLE * (held + pair * values * (entries + FEW) ** 2) <= memory

    if not fits(1, max(tensor[0].numel() for tensor in (one.x, *one.gates))):
        return False
    run = _Sizes(network)
    try:
        run.run(*(_like_weights(network, tensor) for tensor in one.inputs))
    except (NotImplementedError, RuntimeError):  # of this type or device, say
        return False
    return fits(run.values, run.entries)


class _Sizes(fx.Interpreter):
    """Notes the most values held at once, and the most entries of one."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.extra_traceback = False
        self.values = self.entries = 0

    def run_node(self, n: fx.Node) -> Any:
        """Run one node; called by torch.fx, which lets go of what is not read again."""
        value = super().run_node(n)
        held = sum(node.op not in ("placeholder", "get_attr") for node in self.env)
        self.values = max(self.values, held + 1)
        if isinstance(value, Tensor) and value.dim():
            self.entries = max(self.entries, value[0].numel())
        return value


def _like_weights(network: fx.GraphModule, tensor: Tensor) -> Tensor:
    """A tensor in the type of the weights: a kernel in float64 may have them in float32."""
    own = next(network.parameters(), tensor)
    return tensor.to(own.dtype) if tensor.is_floating_point() else tensor


def too_large(nbytes: float, seconds: float, memory: float) -> PathKernelError:
    """The error for a pair that does not fit."""
    return PathKernelError(
        f"memory: one pair of these examples takes {nbytes / 1e6:,.0f} MB and about "
        f"{_said(seconds)} by the general rules; expected at most {memory:g} bytes. Repair: "
        f"memory={nbytes:.2g}, examples of fewer positions, or npk_features, whose cost does not "
        f"grow with the square of the positions"
    )


def _said(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} minutes"


def cost_of(
    network: fx.GraphModule,
    one: Side,
    other: Side,
    setting: Setting,
    size: int,
    *,
    timed: bool = False,
) -> Cost:
    """What a tile of `size` examples a side takes, from one example of each.

    A rule that cannot do without numbers is tried on one pair, if its gates promise a small one.
    """
    left, right = (_many(side, size) for side in (one, other))
    meter, counter = MemoryMeter(), FlopCounterMode(display=False)
    held = sum(_bytes(tensor) for side in (left, right) for tensor in side.inputs)
    try:
        with counter if timed else nullcontext(), meter:
            propagate(network, left, right, setting)
    except DualviewError:
        raise
    except (NotImplementedError, RuntimeError):  # a rule that reads numbers
        rough = _rough(one)
        if rough > SURE:
            return Cost(held + rough * size**2, rough / BYTES_A_SECOND)
        with meter:
            propagate(network, one, other, setting)
        return Cost(held + meter.peak * size**2, 0.0)
    seconds = counter.get_total_flops() / 2 / OPERATIONS_A_SECOND if timed else 0.0
    return Cost(held + meter.peak, seconds + meter.written / BYTES_A_SECOND)


def _rough(side: Side) -> float:
    """Bytes of one pair: some kernels of the largest layer's pairs of positions."""
    positions = (math.prod(tensor.shape[2:]) for tensor in (side.x, *side.gates))
    return 8.0 * side.x.element_size() * max(positions) ** 2


def _many(side: Side, size: int) -> Side:
    def spread(tensor: Tensor) -> Tensor:
        return torch.empty(size, *tensor.shape[1:], dtype=tensor.dtype, device="meta")

    return Side(spread(side.x), [*map(spread, side.gates)], [*map(spread, side.switches)])


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
