"""Maxima along axes, written as max pools.

`x.amax((2, 3))`, `torch.max(x, 1).values` over tokens or channels and the like choose one entry, as
a max pool over the whole map does, so they become one: its axes go last, and other axes than one
are positions that are not pooled. A map padded with minus infinity and then pooled, as ONNX is
often read, becomes a pool that pads by itself. Tensors have the example on axis 0.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from dualview.conversion.pooling import MaxPool, each_axis, is_max_pool, max_pool_at
from dualview.conversion.source_lines import module_of
from dualview.conversion.spellings import key_at

_POOLS = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
_PADS = (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)


def has_maxima(graph: fx.Graph) -> bool:
    """Whether the graph takes a maximum along an axis, for which ranks must be known."""
    return any(key_at(node) in ("amax", "max") for node in graph.nodes)


def write_maxima_as_pools(
    module: fx.GraphModule, kinds: Mapping[fx.Node, str], shapes: Mapping[fx.Node, torch.Size]
) -> None:
    """Replace the maxima of the graph that a max pool can stand for; others stay."""
    for node in list(module.graph.nodes):
        if kinds.get(node) != "data":
            continue
        key = key_at(node)
        if key == "amax":
            _replace(module.graph, node, [node], shapes)
        elif key == "max" and _gives_values(node):
            _replace(module.graph, node, list(node.users), shapes)
        elif is_max_pool(node):
            _take_padding(module, node)


def _gives_values(node: fx.Node) -> bool:
    """Whether only the largest entries of a maximum along an axis are used, not their places."""
    return bool(node.users) and all(
        (user.target is operator.getitem and user.args[1] == 0)
        or (user.target is getattr and user.args[1] == "values")
        for user in node.users
    )


def _replace(
    graph: fx.Graph, node: fx.Node, results: list[fx.Node], shapes: Mapping[fx.Node, torch.Size]
) -> None:
    """Put a pool before `node` and let every one of `results` be its result."""
    names = ("input", "dim", "keepdim")
    call: dict[str, Any] = dict(zip(names, node.args, strict=False)) | node.kwargs
    source, dim = call["input"], call.get("dim")
    if source not in shapes or dim is None or dim == ():
        return
    rank = len(shapes[source])
    axes = sorted(axis % rank for axis in ([dim] if isinstance(dim, int) else dim))
    rest = rank - 1 - len(axes)
    size = (None,) * (rest - 1) + (1,) * len(axes)
    if 0 in axes or len(size) not in _POOLS:
        return
    last = tuple(range(-len(axes), 0))
    with graph.inserting_before(node):
        moved = axes != [axis + rank for axis in last]
        value = graph.call_function(torch.movedim, (source, (*axes,), last)) if moved else source
        if not rest:  # a channel to pool in
            value = graph.call_function(torch.unsqueeze, (value, 1))
        value = graph.call_function(_POOLS[len(size)], (value, size if len(size) > 1 else 1))
        value.stack_trace, value.meta = node.stack_trace, dict(node.meta)
        if not rest:
            value = graph.call_function(torch.flatten, (value, 1, 2))
        if not call.get("keepdim", False):
            value = graph.call_function(torch.squeeze, (value, last))
        elif moved:
            value = graph.call_function(torch.movedim, (value, last, (*axes,)))
    for result in results:
        result.replace_all_uses_with(value)
        graph.erase_node(result)
    if node not in results:
        graph.erase_node(node)


def _take_padding(module: fx.GraphModule, node: fx.Node) -> None:
    """Let a pool pad by itself where a pad with minus infinity stands before it alone."""
    if len(node.all_input_nodes) > 1:  # its window is read off a size
        return
    (source,) = node.all_input_nodes
    pads, pool = _infinite_pad(source), _pool_of(node)
    if pads is None or pool is None or pool.adaptive or len(source.users) > 1:
        return
    if any(each_axis(pool.options["padding"], 1)):
        return
    dims = len(pads) // 2
    before, after = pads[0::2], pads[1::2]  # of the last axis first
    window = each_axis(pool.options["kernel_size"], dims)
    own = tuple(reversed(before))
    if before != after or any(2 * p > k for p, k in zip(own, window, strict=True)):
        return
    with module.graph.inserting_before(node):
        new = module.graph.call_function(
            pool.max_function, (source.all_input_nodes[0],), pool.options | {"padding": own}
        )
    new.stack_trace, new.meta = node.stack_trace, dict(node.meta)
    node.replace_all_uses_with(new)
    module.graph.erase_node(node)
    module.graph.erase_node(source)


def _infinite_pad(node: fx.Node) -> list[int] | None:
    """The widths of a constant pad with minus infinity, last axis first; None: it is none."""
    if node.op == "call_module" and type(module_of(node)) in _PADS:
        module: Any = module_of(node)
        return list(module.padding) if module.value == -math.inf else None
    if node.target is not F.pad:
        return None
    names = ("input", "pad", "mode", "value")
    call: dict[str, Any] = dict(zip(names, node.args, strict=False)) | node.kwargs
    infinite = call.get("mode", "constant") == "constant" and call.get("value") == -math.inf
    pads = call["pad"]
    known = infinite and all(isinstance(width, int) for width in pads)
    return list(pads) if known and len(pads) in (2, 4, 6) else None


def _pool_of(node: fx.Node) -> MaxPool | None:
    """The windows of the pool at `node`; None where it gives its choices too, which is refused."""
    try:
        return max_pool_at(node)
    except ValueError:
        return None
