"""The weights network's graph: (input, gates, switches) -> the model's outputs.

Every activation has become one multiplication by a gate, `apply_gate`. With a constant-1 input,
what comes before the first gate does not depend on the example: it is computed on one row of ones
and spread over the batch where it meets something that does.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from dualview.conversion import operations as ops
from dualview.conversion.gates import apply_gate
from dualview.conversion.gating_graph import add_average
from dualview.conversion.leaf import leaf
from dualview.conversion.multipliers import replay_layer_norm
from dualview.conversion.pooling import replay_switch
from dualview.conversion.signal_path import (
    dot_product_arguments,
    is_embedding,
    is_layer_norm,
    layer_norm_of,
    replayed_factor,
)
from dualview.conversion.source_lines import describe, module_of
from dualview.conversion.spellings import key_at
from dualview.conversion.tracing import TracedNetwork, data_argument, drop_dead_code, max_pool_of
from dualview.conversion.verification import ValueKind, is_batch_size, is_shape_query, value_kinds
from dualview.errors import ConversionError, DualviewWarning

MULTIPLIER = "multiplier_"
"""How the placeholders of a weights network's multipliers are called, up to their number."""


@leaf
def one_row_of_ones(x: Tensor) -> Tensor:
    """Ones of the shape of one example: (n, ...) -> (1, ...)."""
    return torch.ones_like(x[:1])


@leaf
def spread_over_batch(row: Tensor, x: Tensor) -> Tensor:
    """The one row (1, ...) seen once for each example of `x`: (n, ...), without copying."""
    return row.expand(x.shape[0], *row.shape[1:])


class WeightsGraphBuilder:
    """Copies a traced graph node by node, activations and max pools replaced."""

    def __init__(
        self,
        traced: TracedNetwork,
        *,
        ones: bool,
        switches: bool,
        at_zero: Sequence[float] | None = None,
    ) -> None:
        """`at_zero` holds what each activation is at 0, a bias beside its gate; default: 0."""
        self.traced = traced
        self.at_zero = dict(zip(traced.activations, at_zero or (), strict=False))
        self.ones = ones
        self.graph = fx.Graph()
        self.kinds: dict[fx.Node, ValueKind] = value_kinds(traced.graph)
        self.full: dict[fx.Node, fx.Node] = {}
        """Values for the whole batch."""
        self.row: dict[fx.Node, fx.Node] = {}
        """Values that no example changes yet, as one row (constant-1 input only)."""
        names = ["x", *(f"input_{k}" for k in range(2, len(traced.inputs) + 1))]
        self.inputs = {
            node: self.graph.placeholder(name)
            for node, name in zip(traced.inputs, names, strict=True)
        }
        self.x = self.inputs[traced.input]
        count = range(1, len(traced.activations) + 1)
        self.gates = [self.graph.placeholder(f"gate_{k}") for k in count]
        pools = range(1, len(traced.max_pools) + 1 if switches else 1)
        self.switches = [self.graph.placeholder(f"switch_{k}") for k in pools]
        count = range(1, len(traced.multipliers) + 1)
        self.multipliers = [self.graph.placeholder(f"{MULTIPLIER}{k}") for k in count]

    def build(self) -> fx.Graph:
        """The finished graph."""
        gates, switches = iter(self.gates), iter(self.switches)
        multipliers = iter(self.multipliers)
        activations, max_pools, others = map(
            frozenset, (self.traced.activations, self.traced.max_pools, self.traced.multipliers)
        )
        for node in self.traced.graph.nodes:
            if node not in self.traced.signal_path:
                continue
            if node.op == "placeholder":
                self._start(node)
            elif node in activations:
                self._gate(node, next(gates))
            elif node in max_pools:
                self._pool(node, next(switches, None))
            elif node in others:
                self._multiply(node, next(multipliers))
            elif self._needs_no_example(node):
                self.row[node] = self.graph.node_copy(node, self._row_or_constant)
            else:
                self._copy(node)
        drop_dead_code(self.graph)
        return self.graph

    def _start(self, node: fx.Node) -> None:
        if self.ones and any(map(is_embedding, self.traced.graph.nodes)):
            raise ConversionError(
                "weights_input='ones': the model reads tokens, in whose place no 1 can stand. "
                "Repair: weights_input='data'"
            )
        if self.ones:
            self.row[node] = self.graph.call_function(one_row_of_ones, (self.inputs[node],))
        else:
            self.full[node] = self.inputs[node]

    def _gate(self, node: fx.Node, gate: fx.Node) -> None:
        value = self._row_or_full(data_argument(node))
        gated = self.graph.call_function(apply_gate, (value, gate))
        bias = self.at_zero.get(node, 0.0)
        if bias != 0:
            gated = self.graph.call_function(torch.add, (gated, bias))
        self.full[node] = gated

    def _pool(self, node: fx.Node, switch: fx.Node | None) -> None:
        source = data_argument(node)
        value = self._row_or_full(source)
        if switch is not None:
            dims = max_pool_of(node).dims
            self.full[node] = self.graph.call_function(replay_switch, (value, switch, dims))
        else:
            kept, lookup = self.full, self.batch_value
            if source in self.row:
                kept, lookup = self.row, self._row_or_constant
            kept[node] = add_average(self.graph, node, value, lookup)

    def _multiply(self, node: fx.Node, multiplier: fx.Node) -> None:
        """LayerNorm under a scale, or attention under weights, that the gating network gives."""
        factor = replayed_factor(node, self.kinds)
        if is_layer_norm(node):
            norm = layer_norm_of(node)
            value = self._row_or_full(norm.source)
            normalised = fx.map_arg(norm.normalised, self.batch_value)
            weight, bias = self._parameter(norm.weight), self._parameter(norm.bias)
            self.full[node] = self.graph.call_function(
                replay_layer_norm, (value, multiplier, normalised, weight, bias)
            )
        elif factor is not None:
            self.full[node] = self.graph.node_copy(
                node, lambda source: multiplier if source is factor else self.batch_value(source)
            )
        else:
            value = self.batch_value(dot_product_arguments(node)["value"])
            self.full[node] = self.graph.call_function(torch.matmul, (multiplier, value))
        self.full[node].stack_trace = node.stack_trace

    def _parameter(self, found: fx.Node | str | None) -> fx.Node | None:
        if isinstance(found, str):
            return self.graph.get_attr(found)
        return None if found is None else self.batch_value(found)

    def _copy(self, node: fx.Node) -> None:
        if key_at(node) == "batch norm" and node.all_input_nodes[0] in self.row:
            _warn_batch_norm_on_ones(node)
        self.full[node] = self.graph.node_copy(node, self.batch_value)
        if node.target == "view" and node.all_input_nodes[0] in self.row:
            self.full[node].target = "reshape"  # a spread row has no memory of its own to view

    def _row_or_full(self, node: fx.Node) -> fx.Node:
        return self.row[node] if node in self.row else self.batch_value(node)

    def _row_or_constant(self, node: fx.Node) -> fx.Node:
        return self.row[node] if node in self.row else self.full[node]

    def batch_value(self, node: fx.Node) -> fx.Node:
        """The value of `node` for the whole batch, spread from its one row if need be."""
        if node not in self.full:
            if self.kinds[node] == "data" and node in self.row:
                self.full[node] = self.graph.call_function(
                    spread_over_batch, (self.row[node], self.x)
                )
            else:  # a size, or the tokens of an embedding: read off the whole batch
                self.full[node] = self.graph.node_copy(node, self.batch_value)
        return self.full[node]

    def _needs_no_example(self, node: fx.Node) -> bool:
        """Whether `node` can be computed on one row of ones, the same for every example."""
        sources = node.all_input_nodes
        in_row = [source for source in sources if source in self.row]
        if not in_row or any(self.kinds[s] != "constant" for s in sources if s not in self.row):
            return False
        if self.kinds[node] == "shape":
            return is_shape_query(node) or node.op == "call_function"
        if node.op == "output":
            return False
        if key_at(node) == "reshape":
            return self._keeps_one_row(node)
        # A size may be the number of examples, which one row does not have.
        return all(self.kinds[s] != "shape" for s in in_row) and _keeps_rows_apart(node)

    def _keeps_one_row(self, node: fx.Node) -> bool:
        """Whether a view of one row of ones is one row again: its first size is the batch's."""
        given: Any = node.kwargs.get("shape", node.kwargs.get("size", node.args[1:]))
        sizes = given[0] if len(given) == 1 and isinstance(given[0], tuple | list) else given
        if not sizes or not isinstance(sizes, tuple | list):
            return False
        if isinstance(sizes[0], fx.Node):
            return is_batch_size(sizes[0])
        shapes = self.traced.shapes
        return sizes[0] == -1 and bool(shapes) and (shapes[node][0] == shapes[self.traced.input][0])


def _keeps_rows_apart(node: fx.Node) -> bool:
    """Whether `node` maps one row of ones to what it would make of every row of a batch."""
    key = key_at(node)
    if key == "flatten":
        if node.op == "call_module":
            start: Any = module_of(node).start_dim
        else:
            start = node.kwargs.get("start_dim", node.args[1] if len(node.args) > 1 else 0)
        return isinstance(start, int) and start >= 1
    return key not in ops.BATCH_AXIS_MOVERS | {"dropout", "batch norm"}


def _warn_batch_norm_on_ones(node: fx.Node) -> None:
    """Say that this batch norm sees a value which no example changes."""
    warnings.warn(
        f"{describe(node)}: with a constant-1 input this batch norm sees the same value for every "
        f"example. Its variance comes from the padding's border alone, and without padding it is 0 "
        f"and the layer is dead. Consider weights_input='data' (a kind without -ones), or no "
        f"batch norm before the first gate",
        DualviewWarning,
        stacklevel=2,
    )


def reads_multiplier(network: fx.GraphModule) -> fx.Node | None:
    """The first node of a weights network that reads a multiplier; None where there is none."""
    nodes = network.graph.nodes
    given = {n for n in nodes if n.op == "placeholder" and str(n.target).startswith(MULTIPLIER)}
    return next((node for node in nodes if given.intersection(node.all_input_nodes)), None)
