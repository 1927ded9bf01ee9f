"""Paths of a weights network, listed one by one, and counted before they are listed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from dualview.arguments import LARGEST_SEED, shape, takes, whole
from dualview.conversion.examples import gated
from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import PathKernelError, TooManyPathsError
from dualview.path_enumeration.edges import Entry, GateUnit, ScalarGraph, Weight, coordinates_of
from dualview.path_enumeration.example_values import evaluated_inputs, switch_windows
from dualview.path_enumeration.random_run import BatchNormMode
from dualview.path_enumeration.scalar_graph import scalar_graph, without_biases

PATH_LIMIT = 200_000
"""Most paths that are enumerated unless asked otherwise."""

LIMIT = whole(1, LARGEST_SEED)
"""What an option `limit` may be."""


@dataclass(frozen=True, slots=True)
class Path:
    """One path, from its source to one output.

    Attributes:
        output: flat position in the network's output.
        source: coordinates of the input, or None for a path that begins at a constant 1.
        weights: the weights it meets, from the source to the output.
        gates: the gates it meets, from the source to the output.
        coefficient: the product of the constants it meets.
    """

    output: int
    source: tuple[int, ...] | None
    weights: tuple[Weight, ...]
    gates: tuple[GateUnit, ...]
    coefficient: float


@takes(PathKernelError, net=gated, x_shape=shape())
def count_paths(net: GatedNetwork, x_shape: Sequence[int]) -> int:
    """The exact number of paths of `net`'s weights network, to all outputs together.

    Args:
        net: a gated network.
        x_shape: shape of one example, such as (3, 8, 8).

    Raises:
        TooManyPathsError: the network is too large even to be spelled out entry by entry.

    >>> from torch import nn
    >>> from dualview import disentangle
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> count_paths(disentangle(model), (4,))  # 4 * 3 * 2, and 3 * 2 + 2 from the biases
    32
    """
    return _count(graph_of(net, x_shape))


@takes(PathKernelError, net=gated, x_shape=shape(), limit=LIMIT)
def paths(net: GatedNetwork, x_shape: Sequence[int], *, limit: int = PATH_LIMIT) -> list[Path]:
    """Every path of `net`'s weights network, those of output 0 first.

    Args:
        net: a gated network.
        x_shape: shape of one example, such as (3, 8, 8).
        limit: most paths to list.

    Raises:
        TooManyPathsError: there are more than `limit`; the message gives the count.
        UnsupportedOperationError: an operation is not a sum over weights and entries.

    >>> from torch import nn
    >>> from dualview import disentangle
    >>> model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False))
    >>> (path,) = paths(disentangle(model), (1,))
    >>> path.source, [weight.parameter for weight in path.weights], path.gates[0].site
    ((0,), ['0.weight', '2.weight'], 'gate_1')
    """
    graph = graph_of(net, x_shape)
    refuse_more_than(limit, graph)
    return list(walk(graph))


def graph_of(
    net: GatedNetwork,
    x_shape: Sequence[int],
    batch_norm: BatchNormMode = "model",
    biases: bool = True,
) -> ScalarGraph:
    """The weights network of `net` spelled out entry by entry, for one example's shape."""
    inputs = evaluated_inputs(net, torch.zeros(1, *x_shape), name="x_shape")
    graph = scalar_graph(net.weights_network, inputs, batch_norm, switch_windows(net))
    return graph if biases else without_biases(graph)


def _count(graph: ScalarGraph) -> int:
    """How many paths there are: an exact integer, counted entry by entry from the input on."""
    counts: dict[Entry, int] = {}
    for entry, edges in graph.edges.items():
        counts[entry] = sum(
            1 if edge.source is None else counts.get(edge.source, edge.source.node == "x")
            for edge in edges
        )
    return sum(counts[entry] for entry in graph.outputs)


def refuse_more_than(limit: int, graph: ScalarGraph) -> None:
    """Raise TooManyPathsError, with the exact count, if there are more paths than `limit`."""
    count = _count(graph)
    if count > limit:
        raise TooManyPathsError(
            f"the weights network has {count} paths: expected at most {limit} (limit). Repair: "
            f"enumerate a smaller network or raise limit; dv.npk and dv.npk_features need no "
            f"enumeration"
        )


def walk(graph: ScalarGraph) -> Iterator[Path]:
    """From each output back to every source, depth first."""
    for output, start in enumerate(graph.outputs):
        stack: list[tuple[Entry | None, tuple[Weight, ...], tuple[GateUnit, ...], float]]
        stack = [(start, (), (), 1.0)]
        while stack:
            entry, weights, gates, coefficient = stack.pop()
            if entry is None:
                yield Path(output, None, weights, gates, coefficient)
            elif entry.node == "x":
                source = coordinates_of(entry.position, graph.input_shape)
                yield Path(output, source, weights, gates, coefficient)
            else:
                for edge in reversed(graph.edges[entry]):
                    step = (
                        edge.source,
                        weights if edge.weight is None else (edge.weight, *weights),
                        gates if edge.gate is None else (edge.gate, *gates),
                        coefficient * edge.coefficient,
                    )
                    stack.append(step)
