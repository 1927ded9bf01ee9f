"""The covariance of every pair of entries, by recursion: an oracle for networks with many paths.

With the gates fixed and independent zero-mean weights, the second moments of a weights network's
entries obey a recursion from the input to the output. Here it is written down entry by entry, with
nothing assumed of channels, positions, layers or skips: an entry is a sum of edges, so

    E[u v'] = sum over edges e of u, f of v:  c_e c_f  g_e(x1) g_f(x2)  E[w_e w_f]  E[s_e s_f'].

It shares the list of edges with the enumeration of paths, and nothing with `dv.npk`. Cost grows
with the square of the entries, not with the number of paths, so that whole (narrow) residual
networks can be checked. Each weight may be read by one operation only.

Matrices are (entries of u, entries of v): u belongs to x1, v to x2.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dualview.arguments import takes, whole
from dualview.conversion.gated_network import GatedNetwork
from dualview.errors import PathKernelError
from dualview.path_enumeration.edges import Edge, Entry, ScalarGraph, Weight
from dualview.path_enumeration.example_values import GateMode, evaluated_inputs, gate_column
from dualview.path_enumeration.kernels import (
    KERNEL_ARGUMENTS,
    KernelBatchNorm,
    Variances,
    graph_of_pair,
    variance_of,
)


@takes(PathKernelError, **KERNEL_ARGUMENTS, output=whole(0))
def recursive_npk(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    output: int = 0,
    biases: bool = False,
    batch_norm: KernelBatchNorm = "identity",
    gates: GateMode = "model",
    variances: Variances = 1.0,
) -> Tensor:
    """The neural path kernel of one output by recursion over pairs of entries, (n1, n2), float64.

    Arguments are those of `enumerated_npk`, and so is the result.

    Raises:
        PathKernelError: a weight is read by several operations (tied weights).
        TooManyPathsError: the network is too large to be spelled out entry by entry.

    >>> from torch import nn
    >>> from dualview import disentangle
    >>> from dualview.path_enumeration import enumerated_npk
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    >>> net, x = disentangle(model, kind="dlgn"), torch.randn(5, 4, dtype=torch.float64)
    >>> bool(torch.allclose(recursive_npk(net, x), enumerated_npk(net, x)))
    True
    """
    graph = graph_of_pair(net, x1, x2, batch_norm, biases)
    return _recursion(net, graph, (x1, x2), gates, variances, output)[0]


@takes(PathKernelError, **KERNEL_ARGUMENTS, output=whole(0))
def recursive_expected_ntk(
    net: GatedNetwork,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    variances: Variances = 1.0,
    output: int = 0,
    biases: bool = False,
    batch_norm: KernelBatchNorm = "identity",
    gates: GateMode = "model",
) -> Tensor:
    """The expected NTK of one output by recursion over pairs of entries, (n1, n2), float64.

    Arguments are those of `enumerated_expected_ntk`, and so is the result. Errors: see
    `recursive_npk`.
    """
    graph = graph_of_pair(net, x1, x2, batch_norm, biases)
    return _recursion(net, graph, (x1, x2), gates, variances, output)[1]


def _recursion(
    net: GatedNetwork,
    graph: ScalarGraph,
    examples: tuple[Tensor, Tensor | None],
    gates: GateMode,
    variances: Variances,
    output: int,
) -> Tensor:
    """(covariance, expected NTK) of one output, stacked: (2, n1, n2)."""
    if not 0 <= output < len(graph.outputs):
        raise PathKernelError(f"output: expected 0 ... {len(graph.outputs) - 1}, got {output}")
    nodes = _nodes_of(graph)
    _refuse_tied_weights(nodes)
    x1, x2 = examples
    first = _Side(nodes, evaluated_inputs(net, x1, gates))
    second = first if x2 is None else _Side(nodes, evaluated_inputs(net, x2, gates))
    moments = {
        (u, v): torch.stack([product, torch.zeros_like(product)])
        for u in _INPUTS
        for v in _INPUTS
        for product in [torch.einsum("iu,jv->ijuv", first.values[u], second.values[v])]
    }
    last = graph.outputs[output]
    counts = (len(first), len(second))
    for u, v in _needed_pairs(nodes, last.node):
        # Only the later of two nodes is spelled out, both sides if it is one node.
        left = first.same(u) if _order(nodes, u) < _order(nodes, v) else first.plain(u)
        right = second.same(v) if _order(nodes, v) < _order(nodes, u) else second.plain(v)
        moments[u, v] = moments["x", "x"].new_zeros(2, *counts, first.size(u), second.size(v))
        for (s, a), (t, b) in itertools.product(left.items(), right.items()):
            moments[u, v] += torch.einsum("ius,zijst,jvt->zijuv", a, moments[s, t], b)
        if u == v:
            moments[u, v] += _through_weights(nodes[u], moments, variances)
    return moments[last.node, last.node][..., last.position, last.position]


_ONE = "1"  # the node whose one entry is the constant 1
_INPUTS = ("x", _ONE)

Moments = dict[tuple[str, str], Tensor]
"""(u, v) -> (2, n1, n2, entries of u, entries of v): second moments, and their NTK."""


@dataclass(frozen=True)
class _Node:
    """One node's edges by kind: position in the node, position in the source, factor."""

    order: int
    size: int
    plain: dict[str, list[tuple[int, Edge]]]
    weighted: dict[Weight, dict[str, list[tuple[int, Edge]]]]


def _nodes_of(graph: ScalarGraph) -> dict[str, _Node]:
    sizes: dict[str, int] = {}
    for entry in graph.edges:
        sizes[entry.node] = sizes.get(entry.node, 0) + 1
    nodes = {name: _Node(order, size, {}, {}) for order, (name, size) in enumerate(sizes.items())}
    for entry, edges in graph.edges.items():
        node = nodes[entry.node]
        for edge in edges:
            kind = node.plain if edge.weight is None else node.weighted.setdefault(edge.weight, {})
            kind.setdefault(_source(edge).node, []).append((entry.position, edge))
    return nodes


def _source(edge: Edge) -> Entry:
    return Entry(_ONE, 0) if edge.source is None else edge.source


def _refuse_tied_weights(nodes: Mapping[str, _Node]) -> None:
    readers: dict[Weight, str] = {}
    for name, node in nodes.items():
        for weight in node.weighted:
            if readers.setdefault(weight, name) != name:
                raise PathKernelError(
                    f"weight {weight.parameter}{list(weight.coordinates)} is read by {name} and by "
                    f"{readers[weight]} (tied weights), and this recursion takes each layer's "
                    f"weights to be independent of the rest. Repair: untie the layers, or use "
                    f"enumerated_npk, which takes weights that are read in parallel"
                )


def _needed_pairs(nodes: Mapping[str, _Node], last: str) -> list[tuple[str, str]]:
    """Every pair of nodes whose moments the last node's need, sources first."""
    found: set[tuple[str, str]] = set()
    waiting = [(last, last)]
    while waiting:
        pair = waiting.pop()
        if pair not in found and not (pair[0] in _INPUTS and pair[1] in _INPUTS):
            found.add(pair)
            waiting += _pairs_read_by(nodes, *pair)
    return sorted(found, key=lambda pair: max(_order(nodes, pair[0]), _order(nodes, pair[1])))


def _order(nodes: Mapping[str, _Node], name: str) -> int:
    return -1 if name in _INPUTS else nodes[name].order


def _pairs_read_by(nodes: Mapping[str, _Node], u: str, v: str) -> list[tuple[str, str]]:
    if u == v:
        kinds = [nodes[u].plain, *nodes[u].weighted.values()]
        return [(s, t) for sources in kinds for s in sources for t in sources]
    if _order(nodes, u) > _order(nodes, v):
        return [(s, v) for s in nodes[u].plain]
    return [(u, s) for s in nodes[v].plain]


class _Side:
    """One side's examples, and the matrices (n, entries of node, entries of source) they give."""

    def __init__(self, nodes: Mapping[str, _Node], inputs: Mapping[str, Tensor]) -> None:
        self._nodes = nodes
        self._inputs = inputs
        x = inputs["x"].flatten(1)
        self.values = {"x": x, _ONE: x.new_ones(len(x), 1)}

    def size(self, name: str) -> int:
        """Entries of a node."""
        return self.values[name].shape[1] if name in self.values else self._nodes[name].size

    def same(self, name: str) -> dict[str, Tensor]:
        """The node as itself."""
        return {name: torch.eye(self.size(name), dtype=torch.float64).expand(len(self), -1, -1)}

    def plain(self, name: str) -> dict[str, Tensor]:
        """The node as a sum over its edges without a weight; those with one have mean zero."""
        node = self._nodes[name]
        shape = (len(self), node.size)
        matrices = {s: torch.zeros(*shape, self.size(s)).double() for s in node.plain}
        for source, edges in node.plain.items():
            for position, edge in edges:
                gate = 1.0 if edge.gate is None else gate_column(edge.gate, self._inputs)
                matrices[source][:, position, _source(edge).position] += edge.coefficient * gate
        return matrices

    def __len__(self) -> int:
        return len(self._inputs["x"])


def _through_weights(node: _Node, moments: Moments, variances: Variances) -> Tensor:
    """Terms of edges that hold the same weight w: E[w w] = variance, and d/dw of both sides."""
    one = moments[_ONE, _ONE]
    total = one.new_zeros(*one.shape[:3], node.size * node.size)
    for weight, sources in node.weighted.items():
        variance = variance_of(weight, variances)
        for s, left in sources.items():
            for t, right in sources.items():
                term = _outer(left, right, moments[s, t])
                both = torch.stack([variance * term[0], variance * term[1] + term[0]])
                total.index_add_(-1, _flat_pairs(left, right, node.size), both)
    return total.unflatten(-1, (node.size, node.size))


def _outer(
    left: list[tuple[int, Edge]], right: list[tuple[int, Edge]], moment: Tensor
) -> Tensor:  # (2, n1, n2, edges * edges)
    rows = [_source(edge).position for _, edge in left]
    columns = [_source(edge).position for _, edge in right]
    a = torch.tensor([edge.coefficient for _, edge in left], dtype=torch.float64)
    b = torch.tensor([edge.coefficient for _, edge in right], dtype=torch.float64)
    return (moment[..., rows, :][..., columns] * a[:, None] * b).flatten(-2)


def _flat_pairs(left: list[tuple[int, Edge]], right: list[tuple[int, Edge]], size: int) -> Tensor:
    return torch.tensor([u * size + v for u, _ in left for v, _ in right])
