"""The words of a weights network spelled out: weights, gates, entries, and edges between entries.

An entry is one scalar of one node's value, for one example. It is a sum of edges, each

    coefficient x weight x gate x an entry nearer to the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Weight(NamedTuple):
    """One scalar weight: its parameter's name in the weights network, and its coordinates there."""

    parameter: str
    coordinates: tuple[int, ...]


class GateUnit(NamedTuple):
    """One scalar gate: `site` is a placeholder of the weights network, the example axis left out.

    For a max pool's switch, `chosen` is a position of its input: the gate is 1 for the examples
    whose switch there holds that position and 0 for the others. Else `chosen` is None.
    """

    site: str
    coordinates: tuple[int, ...]
    chosen: int | None = None


class Entry(NamedTuple):
    """One scalar of one node's value, by its flat position."""

    node: str
    position: int


class Edge(NamedTuple):
    """One term of an entry: coefficient x weight x gate x source. No source: the constant 1."""

    source: Entry | None
    coefficient: float = 1.0
    weight: Weight | None = None
    gate: GateUnit | None = None


@dataclass(frozen=True)
class ScalarGraph:
    """Every entry of a weights network as a sum of edges, inputs before what depends on them.

    Attributes:
        edges: the terms of each entry; the input's own entries are not among the keys.
        outputs: the entries of the network's output, in flat order.
        input_shape: shape of the input x without the example axis.
    """

    edges: dict[Entry, list[Edge]]
    outputs: tuple[Entry, ...]
    input_shape: tuple[int, ...]


def coordinates_of(position: int, shape: Sequence[int]) -> tuple[int, ...]:
    """A flat position as one index per axis of `shape`."""
    found = []
    for size in reversed(shape):
        position, index = divmod(position, size)
        found.append(index)
    return tuple(reversed(found))
