"""A weights network of one example as a list of steps: which entry feeds which, times what.

An *entry* is one scalar of one step's value, by its flat position. Three kinds of step are enough:

- `Input`: the example's own numbers, where paths begin;
- `Sum`: every entry adds a few entries of earlier steps, each times a number that is no weight (a
  gate, 1/m of a pool, batch norm's scale, a plain 1), and a constant;
- `Weighted`: a dense or convolutional layer.

A *path* picks one term of every entry that it meets, from an output back to the input or to a
constant. Arrays are numpy float64. Entries of a layer are in the order (channels, positions).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

StepKind = Literal["input", "weights", "gate", "map"]
"""What a step is to a reader of paths; a "map" (pooling, moves, batch norm) is passed through."""


@dataclass(frozen=True)
class Label:
    """What a step is called: the layer, its kind, and its shape without the axis of examples."""

    layer: str
    kind: StepKind
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    def coordinates(self, entry: int) -> tuple[int, ...]:
        """Channel first, then positions."""
        return tuple(int(i) for i in np.unravel_index(entry, self.shape)) if self.shape else ()


@dataclass(frozen=True, eq=False)
class Gather:
    """Which entries of a source are added, and how often.

    The source is seen as `blocks` equal blocks (its channels), which are all treated alike.

    Attributes:
        blocks: number of blocks of the source, and of the result.
        index: (entries of a result's block, m): positions in a source's block; -1 is no entry.
        coefficients: of index's shape; None means 1 everywhere.
    """

    blocks: int
    index: np.ndarray
    coefficients: np.ndarray | None = None


def gather_of(
    read: np.ndarray, written: np.ndarray, factor: np.ndarray, size: int, blocks: int = 1
) -> Gather:
    """The gather of `size` entries a block: entry written[i] adds factor[i] times entry read[i]."""
    order = np.lexsort((read, written))
    read, written, factor = read[order], written[order], factor[order]
    counts = np.bincount(written, minlength=size)
    place = np.arange(len(written)) - np.repeat(np.cumsum(counts) - counts, counts)
    index = np.full((size, max(1, counts.max(initial=0))), -1)
    coefficients = np.zeros(index.shape)
    index[written, place] = read
    coefficients[written, place] = factor
    return Gather(blocks, index, coefficients)


def gathered_by(
    gather: Gather, entries: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(place, read, factor): what entries[place[i]] adds of a source of `size` entries."""
    block, row = np.divmod(entries, len(gather.index))
    place, column = np.nonzero(gather.index[row] >= 0)
    row = row[place]
    read = block[place] * (size // gather.blocks) + gather.index[row, column]
    factor = np.ones(len(row)) if gather.coefficients is None else gather.coefficients[row, column]
    return place, read, factor


@dataclass(frozen=True, eq=False)
class Part:
    """One source of a sum.

    Attributes:
        source: number of an earlier step.
        gather: None: entry i reads entry i.
        factor: (entries,), multiplied after gathering; None means 1.
        learnt: whether the factor is a parameter (else a gate or a constant).
    """

    source: int
    gather: Gather | None = None
    factor: np.ndarray | None = None
    learnt: bool = False


@dataclass(frozen=True, eq=False)
class Input:
    """The numbers that paths begin with: the example's, or 1 everywhere."""

    label: Label
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Sum:
    """Parts of earlier steps, and a constant for each entry (0: none).

    `learnt` says that the constant holds parameters: then it is a bias of every entry, 0 or not.
    """

    label: Label
    parts: tuple[Part, ...]
    constant: np.ndarray | None = None
    learnt: bool = False


@dataclass(frozen=True, eq=False)
class Weighted:
    """A dense or convolutional layer.

    The source is seen as (groups, c, positions), the result as (groups, o, new positions); entry
    (g, i, q) adds weight[g, i, (j, d)] times entry (g, j, index[d, q]) of the source.

    Attributes:
        label: of the layer.
        source: number of an earlier step.
        index: (offsets, new positions): positions of the source; -1 is no entry.
        weight: (groups, o, c * offsets).
        bias: (groups * o,), one a channel, or None.
        learnt: whether the weights are parameters (else a constant matrix).
    """

    label: Label
    source: int
    index: np.ndarray
    weight: np.ndarray
    bias: np.ndarray | None = None
    learnt: bool = True

    @property
    def groups(self) -> int:
        """Number of groups of channels."""
        return self.weight.shape[0]

    @property
    def inputs(self) -> int:
        """Channels that one channel reads: c."""
        return self.weight.shape[2] // len(self.index)


Step = Input | Sum | Weighted


def sources(step: Step) -> tuple[int, ...]:
    """Numbers of the steps that a step reads."""
    if isinstance(step, Input):
        return ()
    return (step.source,) if isinstance(step, Weighted) else tuple(p.source for p in step.parts)


@dataclass(frozen=True, eq=False)
class Program:
    """Steps in an order in which sources come first.

    `output` is the number of the one returned, `shape` its shape for one example, (1, ...).
    """

    steps: tuple[Step, ...]
    output: int
    shape: tuple[int, ...]
