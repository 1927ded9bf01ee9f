"""The squash that ends a model: softmax, log-softmax or sigmoid of the logits.

What is taken apart are the logits. The squash, and whatever only follows it, is cut off and put
behind the weights network's output, so that kernel, paths and contributions speak of logits.
Source: theory, section 7.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx, nn

from dualview.conversion import operations as ops
from dualview.conversion.graph_network import GraphNetwork
from dualview.conversion.source_lines import module_of, operation_name

_MODULES = (nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.Sigmoid, nn.LogSigmoid, nn.Softmax2d)
_NAMES = frozenset({"softmax", "log_softmax", "softmin", "sigmoid", "expit", "logsigmoid"})


def cut_off_squash(module: fx.GraphModule, kinds: Mapping[fx.Node, str]) -> fx.GraphModule | None:
    """Cut the last squash off the graph, which then ends in logits; what was cut off, or None.

    The result takes the logits and gives what the model gave. Nothing is cut where a value of the
    signal path is used beside the logits.
    """
    tail = _tail(module.graph, kinds)
    sources = {
        source
        for node in tail
        for source in node.all_input_nodes
        if source not in tail and kinds[source] == "data"
    }
    if len(tail) < 2 or len(sources) != 1 or not any(map(_is_squash, tail)):
        return None
    (logits,) = sources
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {logits: graph.placeholder("logits")}

    def copied(node: fx.Node) -> fx.Node:
        if node not in copies:
            copies[node] = graph.node_copy(node, copied)
        return copies[node]

    for node in module.graph.nodes:
        if node in tail:
            copied(node)
    squash = GraphNetwork(module, graph, class_name="Squash")
    for node in reversed(module.graph.nodes):
        if node.op == "output":
            node.args = (logits,)
    module.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    return squash


def _tail(graph: fx.Graph, kinds: Mapping[fx.Node, str]) -> set[fx.Node]:
    """The output, and before it every squash with what only moves or squashes its entries."""
    found: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        if node.op == "output":
            found.add(node)
        elif not node.users or kinds[node] != "data" or not all(u in found for u in node.users):
            continue
        elif _is_squash(node) or (_moves(node) and _from_squash(node, kinds)):
            found.add(node)
    return found


def _from_squash(node: fx.Node, kinds: Mapping[fx.Node, str]) -> bool:
    """Whether a squash stands before `node`, with moves of its entries between at most."""
    sources = [source for source in node.all_input_nodes if kinds[source] == "data"]
    return all(_is_squash(s) or (_moves(s) and _from_squash(s, kinds)) for s in sources)


def _moves(node: fx.Node) -> bool:
    if node.op == "call_module":
        return type(module_of(node)) in (nn.Flatten, nn.Unflatten, nn.Identity)
    return operation_name(node) in ops.RESHAPING | {"getitem"}


def _is_squash(node: fx.Node) -> bool:
    if node.op == "call_module":
        return type(module_of(node)) in _MODULES
    return node.op != "output" and operation_name(node) in _NAMES
