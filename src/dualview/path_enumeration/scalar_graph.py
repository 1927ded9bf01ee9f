"""A weights network spelled out entry by entry: which entry feeds which, through which weight.

Given its gates, a weights network is a sum of products. `scalar_graph` lists the terms for the
shapes of one example, then evaluates them on random numbers and compares with the network, so that
an operation that is not such a sum cannot pass unnoticed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, fx

from dualview.conversion.gates import apply_gate
from dualview.conversion.pooling import replay_switch
from dualview.errors import TooManyPathsError, UnsupportedOperationError
from dualview.path_enumeration.edges import Edge, Entry, ScalarGraph
from dualview.path_enumeration.example_values import gate_column
from dualview.path_enumeration.node_edges import edges_of_node, refusal
from dualview.path_enumeration.random_run import (
    BatchNormMode,
    RandomRun,
    Windows,
    random_run,
    simplify_batch_norm,
)

MAX_CELLS = 30_000_000
"""Most pairs (input entry, output entry), over all operations, that will be tried."""


def scalar_graph(
    network: fx.GraphModule,
    inputs: Mapping[str, Tensor],
    batch_norm: BatchNormMode = "model",
    windows: Mapping[str, Windows] | None = None,
) -> ScalarGraph:
    """List the edges of `network`, a `GatedNetwork.weights_network`.

    Args:
        network: placeholders x, gate_1.., switch_1..; it is copied, not changed.
        inputs: one example (axis 0 has length 1) for each placeholder; only shapes matter.
        batch_norm: "model" keeps batch norm's scale and mean as constants; "scale" sets the mean to
            0; "identity" sets the scale to 1 too. Its bias is a weight in all three.
        windows: for each switch, which positions its windows hold (`switch_windows`).

    Raises:
        TooManyPathsError: there are too many entries to try; the message estimates the paths.
        UnsupportedOperationError: an operation is not affine, or has several weights in a product.
    """
    own = copy.deepcopy(network).cpu().double().eval().requires_grad_(False)
    simplify_batch_norm(own, batch_norm)
    values = random_run(own, inputs, windows or {})
    _refuse_too_many_cells(own, values, inputs)
    edges: dict[Entry, list[Edge]] = {}
    for node in values.data:
        for position, terms in enumerate(edges_of_node(node, values)):
            edges[Entry(node.name, position)] = terms
    graph = ScalarGraph(edges, _output_entries(own, values), tuple(values.of["x"].shape[1:]))
    _compare_with_network(graph, values)
    return graph


def without_biases(graph: ScalarGraph) -> ScalarGraph:
    """The graph without the paths that begin at a bias, or at a constant behind a weight.

    A constant that is added before the first weight belongs to the input: `(x - 0.5) / 0.25` is
    what the network reads.
    """
    behind: set[str] = set()
    for entry, terms in graph.edges.items():
        if any(e.source is not None and (e.weight or e.source.node in behind) for e in terms):
            behind.add(entry.node)
    edges = {
        entry: [
            edge
            for edge in terms
            if edge.source is not None or not (edge.weight or entry.node in behind)
        ]
        for entry, terms in graph.edges.items()
    }
    return ScalarGraph(edges, graph.outputs, graph.input_shape)


def _output_entries(own: fx.GraphModule, values: RandomRun) -> tuple[Entry, ...]:
    result = next(n for n in own.graph.nodes if n.op == "output").args[0]
    if not (isinstance(result, fx.Node) and result in values.data):
        raise UnsupportedOperationError(
            f"the weights network returns {result}: expected one tensor that depends on x. "
            f"Repair: return the logits alone"
        )
    return tuple(Entry(result.name, i) for i in range(values.of[result.name].numel()))


def _refuse_too_many_cells(
    own: fx.GraphModule, values: RandomRun, inputs: Mapping[str, Tensor]
) -> None:
    cells = 0
    for node in values.data:
        sources = [values.of[s.name] for s in node.all_input_nodes]
        entries = sum(s.numel() for s in sources if isinstance(s, Tensor) and s.is_floating_point())
        if node.target not in (apply_gate, replay_switch):
            cells += entries * values.of[node.name].numel()
    if cells > MAX_CELLS:
        raise TooManyPathsError(
            f"the weights network has about {_estimated_paths(own, values, inputs):.1e} paths, and "
            f"{cells} pairs of entries that would have to be tried (limit {MAX_CELLS}). Repair: "
            f"enumerate a tiny network; dv.npk and dv.npk_features take networks of any size"
        )


def _estimated_paths(own: fx.GraphModule, values: RandomRun, inputs: Mapping[str, Tensor]) -> float:
    """The output when every weight, gate and input is 1 (averages count as less than they hold)."""
    for weight in values.weights.values():
        weight.fill_(1)
    simplify_batch_norm(own, "identity")
    placeholders = [str(n.target) for n in own.graph.nodes if n.op == "placeholder"]
    arguments = [inputs[name] for name in placeholders]
    ones = [torch.ones_like(a).double() if a.is_floating_point() else a for a in arguments]
    return float(own(*ones).sum())


def _compare_with_network(graph: ScalarGraph, values: RandomRun) -> None:
    """Evaluate the edges on the random run's input, gates and weights, and compare every entry."""
    known = {Entry("x", i): float(v) for i, v in enumerate(values.of["x"].flatten())}

    def term(edge: Edge) -> float:
        source = 1.0 if edge.source is None else known[edge.source]
        weight = 1.0
        if edge.weight is not None:
            weight = float(values.random[edge.weight.parameter][edge.weight.coordinates])
        gate = 1.0 if edge.gate is None else float(gate_column(edge.gate, values.of))
        return edge.coefficient * weight * source * gate

    for entry, terms in graph.edges.items():
        known[entry] = sum(term(edge) for edge in terms)
    for node in values.data:
        listed = [known[Entry(node.name, i)] for i in range(values.of[node.name].numel())]
        computed = values.of[node.name].flatten()
        difference = (torch.tensor(listed, dtype=torch.float64) - computed).abs().max()
        if not difference <= 1e-9 * (1 + computed.abs().max()):
            raise refusal(node, "it is not a sum of products of one weight and one entry")
