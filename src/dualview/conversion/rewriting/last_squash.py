"""The squash that ends a model: softmax, log-softmax or sigmoid of the logits.

What is taken apart are the logits. The squash, and whatever only follows it, is cut off and put
behind the weights network's output, so that kernel, paths and contributions speak of logits.
Source: theory, section 7.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from torch import fx, nn
from torch.utils import _pytree as pytree

from dualview.conversion import operations as ops
from dualview.conversion.graph_network import GraphNetwork
from dualview.conversion.source_lines import module_of, operation_name
from dualview.conversion.spellings import key_at

_MODULES = (nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.Sigmoid, nn.LogSigmoid, nn.Softmax2d)
_NAMES = frozenset({"softmax", "log_softmax", "softmin", "sigmoid", "expit", "logsigmoid"})


def cut_off_squash(module: fx.GraphModule, kinds: Mapping[fx.Node, str]) -> fx.GraphModule | None:
    """Cut the last squash off the graph, which then ends in logits; what was cut off, or None.

    The result takes the logits and gives what the model gave. Of several outputs each squash is cut
    off, and the logits stand where what was made of them stood. Nothing is cut where a value of the
    signal path is used beside the logits.
    """
    tail = _tail(module.graph, kinds)
    if len(tail) < 2 or not any(map(_is_squash, tail)):
        return None
    output = next(node for node in reversed(module.graph.nodes) if node.op == "output")
    logits, places = _logits(output.args[0], tail, kinds)
    if logits is None:
        return None
    graph = fx.Graph()
    given = graph.placeholder("logits")
    copies = {source: _at(graph, given, path) for source, path in places.items()}

    def copied(node: fx.Node) -> fx.Node:
        if node not in copies:
            copies[node] = graph.node_copy(node, copied)
        return copies[node]

    for node in module.graph.nodes:
        if node in tail and node.op != "output":
            copied(node)
    graph.output(fx.map_arg(output.args[0], copied))
    squash = GraphNetwork(module, graph, class_name="Squash")
    output.args = (logits,)
    module.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    return squash


_Path = tuple[Any, ...]
"""Keys, from the outside in, that lead to a value in tuples, lists and dictionaries."""


def _logits(
    given: Any, tail: set[fx.Node], kinds: Mapping[fx.Node, str]
) -> tuple[Any, dict[fx.Node, _Path]]:
    """What the graph gives instead, and where each value that `tail` reads stands in it.

    None instead where an output is made of several values.
    """
    leaves, structure = pytree.tree_flatten_with_path(given)
    sources = [
        _sources(leaf, tail, kinds) if isinstance(leaf, fx.Node) else [leaf] for _, leaf in leaves
    ]
    values = {source for found in sources for source in found if isinstance(source, fx.Node)}
    if len(values) == 1:
        (only,) = values
        return only, {only: ()}
    if any(len(found) != 1 for found in sources):
        return None, {}
    logits = pytree.tree_unflatten([found[0] for found in sources], structure)
    places = {
        found[0]: tuple(map(_key, path))
        for (path, _), found in zip(leaves, sources, strict=True)
        if isinstance(found[0], fx.Node)
    }
    return logits, places


def _sources(leaf: fx.Node, tail: set[fx.Node], kinds: Mapping[fx.Node, str]) -> list[fx.Node]:
    """The values before the tail that an output is made of."""
    if leaf not in tail:
        return [leaf]
    inner = (_sources(s, tail, kinds) for s in leaf.all_input_nodes if kinds[s] == "data")
    return list(dict.fromkeys(source for found in inner for source in found))


def _key(entry: Any) -> Any:
    """The index or key of one step into a tuple, list or dictionary."""
    return entry.idx if hasattr(entry, "idx") else entry.key


def _at(graph: fx.Graph, value: fx.Node, path: _Path) -> fx.Node:
    for key in path:
        value = graph.call_function(operator.getitem, (value, key))
    return value


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
    return key_at(node) in ops.RESHAPING | {"getitem"}


def _is_squash(node: fx.Node) -> bool:
    if node.op == "call_module":
        return type(module_of(node)) in _MODULES
    return node.op != "output" and operation_name(node) in _NAMES
