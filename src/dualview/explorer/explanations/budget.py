"""How much of each example is kept, so that a page stays small whatever the network's size.

A page has room for `LAYERS_BYTES` of gates and of numbers about layers, for `PATH_STOPS` stops of
paths, and for `GROUP_BYTES` of pictures of groups of paths. A gate takes a byte, before compression
and before a third is added to make it text. The more examples, layers and positions there are, the
fewer channels are shown, the coarser are their maps, and the fewer paths are listed; never fewer
than the smallest choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dualview.explorer.explanations.records import Layer

LAYERS_BYTES = 6.3e6
PATH_STOPS = 70_000
MOST_PATHS, FEWEST_PATHS = 12, 1
GROUP_BYTES = 1.5e6
GROUP_CHOICES = ((8, 32), (8, 16), (8, 8), (4, 8), (3, 4))
"""Groups of an output, and the longest side of their pictures; the first that fits is taken."""
FEW_EXAMPLES, WIDE, NARROW = 20, 64, 24
"""States of the search for groups that go on: of few examples, and of more."""
LAYER_BYTES, CHANNEL_BYTES = 225, 90
"""Of the numbers about a layer, and about a channel shown; of both outputs and their difference."""

CHOICES = ((32, 8), (32, 6), (32, 4), (16, 6), (16, 4), (16, 2), (8, 4), (8, 2), (8, 1))
"""Longest side of a map, and channels shown of each layer; the first that fits is taken."""


@dataclass(frozen=True)
class Budget:
    """What is kept of each example.

    Attributes:
        side: longest side of a gate map.
        channels: shown of each layer.
        paths: listed of each output and kind of beginning.
        groups: of paths, of each output and of their difference.
        group_side: longest side of a picture of a group.
        width: of the search for groups.
    """

    side: int
    channels: int
    paths: int
    groups: int = 8
    group_side: int = 32
    width: int = WIDE


def budget_of(layers: Sequence[Layer], n_examples: int) -> Budget:
    """The budget of a page.

    >>> budget_of([Layer("gate_1", (128,))], 200)
    Budget(side=32, channels=8, paths=12, groups=8, group_side=16, width=24)
    >>> budget_of([Layer(f"gate_{i}", (64, 32, 32)) for i in range(1, 110)], 200)
    Budget(side=8, channels=1, paths=1, groups=8, group_side=16, width=24)
    """

    def size(choice: tuple[int, int]) -> int:
        return n_examples * sum(_bytes(layer, *choice) for layer in layers)

    side, channels = next((c for c in CHOICES if size(c) <= LAYERS_BYTES), CHOICES[-1])
    lists = 4 * n_examples * (len(layers) + 2)  # two outputs, two kinds of beginning
    paths = min(MOST_PATHS, max(FEWEST_PATHS, int(PATH_STOPS / lists)))
    room = GROUP_BYTES / (3 * n_examples)  # two outputs, and their difference
    groups, group_side = next(
        ((k, pixels) for k, pixels in GROUP_CHOICES if k * pixels**2 <= room), GROUP_CHOICES[-1]
    )
    width = WIDE if n_examples <= FEW_EXAMPLES else NARROW
    return Budget(side, channels, paths, groups, group_side, width)


def _bytes(layer: Layer, side: int, channels: int) -> int:
    """Of one example's layer: its numbers, and a dense layer's gates or the maps of the others."""
    numbers = LAYER_BYTES + channels * CHANNEL_BYTES
    if layer.is_dense:
        return numbers + layer.shape[0]
    rows, columns = map_shape(layer.shape[1:])
    factor = shrink_factor((rows, columns), side)
    return numbers + (channels + 1) * math.ceil(rows / factor) * math.ceil(columns / factor)


def map_shape(positions: Sequence[int]) -> tuple[int, int]:
    """Rows and columns in which positions are drawn: of a sequence one row, of a volume slices.

    >>> map_shape((4, 5)), map_shape((7,)), map_shape((2, 3, 4))
    ((4, 5), (1, 7), (2, 12))
    """
    if len(positions) < 2:
        return 1, math.prod(positions)
    return positions[0], math.prod(positions[1:])


def shrink_factor(shape: tuple[int, int], side: int) -> int:
    """How many pixels become one, in both directions, so that none is longer than `side`."""
    return max(1, math.ceil(max(shape) / side))


def shrunk(maps: np.ndarray, factor: int) -> np.ndarray:
    """Maps (..., rows, columns), each `factor` x `factor` pixels averaged into one.

    The last row and column average what is left.

    >>> shrunk(np.array([[1.0, 3.0, 5.0]]), 2)
    array([[2., 5.]])
    """
    if factor == 1:
        return maps
    sums = maps
    for axis in (-2, -1):
        starts = np.arange(0, maps.shape[axis], factor)
        counts = np.diff(np.append(starts, maps.shape[axis]))
        sums = np.add.reduceat(sums, starts, axis=axis)
        sums = sums / (counts[:, None] if axis == -2 else counts)
    return sums
