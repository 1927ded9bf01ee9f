"""Chains of gated convolutions, as programs of the offset kernel and as tiles of pairs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dualview.path_kernel.fast.offset_program import (
    OUTPUT,
    DenseLayer,
    OffsetProgram,
    Size,
    Stage,
    Step,
    Window,
)
from dualview.path_kernel.fast.tile import dense_tile, offset_tile


@dataclass(frozen=True)
class ConvLayer:
    """A convolution, the gate of so many channels after it, and perhaps average pooling."""

    channels: int
    kernel: Size = (3, 3)
    padding: tuple[int, int, int, int] = (1, 1, 1, 1)
    stride: Size = (1, 1)
    dilation: Size = (1, 1)
    scale: float = 1.0
    pool: Size | None = None


@dataclass(frozen=True)
class ConvChain:
    """Gated convolutions, pooling over all positions (or flatten), gated dense layers."""

    height: int
    width: int
    layers: tuple[ConvLayer, ...]
    circular: bool = False
    head: str = "average"
    dense: tuple[DenseLayer, ...] = ()
    scale: float = 1.0

    def program(self) -> OffsetProgram:
        """The convolutions and the pooling."""
        stages: list[Stage] = []
        steps: list[Step] = []
        size = self.height, self.width
        for mask, layer in enumerate(self.layers):
            window = Window(layer.kernel, layer.padding, layer.stride, layer.dilation)
            last = mask == len(self.layers) - 1
            size = window.output_size(size)
            scale, pool = layer.scale, layer.pool
            if pool is not None:
                scale /= (pool[0] * pool[1]) ** 2
                size = size[0] // pool[0], size[1] // pool[1]
            ends = last or pool is not None
            steps.append(Step(len(steps), OUTPUT if ends else len(steps) + 1, window, mask, scale))
            if pool is not None:
                stages.append(Stage(tuple(steps), pool))
                steps = [Step(0, OUTPUT)] if last else []
        if steps:
            stages.append(Stage(tuple(steps)))
        if self.head == "average" and min(size) > 0:
            *before, end = stages[-1].steps
            mean = replace(end, scale=end.scale / (size[0] * size[1]) ** 2)
            stages[-1] = Stage((*before, mean))
        channels = tuple(layer.channels for layer in self.layers)
        flat = self.head == "flatten"
        return OffsetProgram(
            (self.height, self.width), channels, tuple(stages), self.circular, flat
        )


def chain_tile(x1, gates1, x2, gates2, chain: ConvChain, *, threads: int = 1) -> np.ndarray:
    """The kernel of every pair; gates are packed, those of convolutions before those of layers."""
    count = len(chain.layers)
    second = None if gates2 is None else gates2[:count]
    out = offset_tile(x1, gates1[:count], x2, second, chain.program(), threads=threads)
    out *= chain.scale
    if chain.dense:
        ones = [np.ones((n, 1), np.float32) for n in out.shape]
        other = gates1 if gates2 is None else gates2
        out *= dense_tile(
            ones[0], gates1[count:], ones[1], other[count:], chain.dense, threads=threads
        )
    return out.astype(np.float32)
