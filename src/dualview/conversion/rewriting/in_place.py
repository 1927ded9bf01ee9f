"""In-place operations made out-of-place, in a traced graph, without changing what it computes.

torch.fx records `relu_(x)` as a call and goes on using `x`, which in the running model has changed.
Here every later use of `x` becomes a use of the result. Where another name shares memory with `x`
(a view) and is used later, the change would have to travel through the view: that is refused.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx
from torch.nn import functional as F

from dualview.conversion import operations as ops
from dualview.conversion.activations import GATE_OF_FUNCTION, GATE_OF_METHOD
from dualview.conversion.pooling import MAX_POOL_FUNCTIONS
from dualview.conversion.source_lines import describe, module_of
from dualview.conversion.spellings import key_at
from dualview.conversion.verification import is_shape_query, value_kinds
from dualview.errors import UnsupportedOperationError

AUGMENTED: dict[Callable[..., Any], Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}
"""`+=` and its like -> the same without the change in place."""

_ALLOCATING = {*GATE_OF_FUNCTION, *GATE_OF_METHOD}


def make_out_of_place(graph: fx.Graph) -> None:
    """Rewrite every in-place operation of `graph`; modules with `inplace=True` are changed too.

    The graph's modules must be copies of the user's.

    Raises:
        UnsupportedOperationError: the changed tensor is still used through another name.
    """
    kinds = value_kinds(graph)
    storage = _storage_roots(graph, kinds)
    order = {node: position for position, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        before = describe(node)
        # `n += 1` on a size makes a new number; only tensors change under their other names.
        if _clear_in_place(node) and kinds[node] != "shape":
            _redirect_later_uses(node, before, storage, order)


def _clear_in_place(node: fx.Node) -> bool:
    """Make `node` itself out-of-place; say whether it was in place."""
    # A module called at several places is cleared once, so ask what it was traced as.
    if not (_changes_in_place(node) or node.meta.get("in_place", False)):
        return False
    if node.op == "call_module":
        for user in node.graph.nodes:
            if user.op == "call_module" and user.target == node.target:
                user.meta["in_place"] = True
        module: Any = module_of(node)
        module.inplace = False
    elif node.op == "call_method":
        node.target = str(node.target)[:-1]
    elif node.kwargs.get("inplace"):
        node.kwargs = {**node.kwargs, "inplace": False}
    else:
        plain = _plain_function(node.target)
        assert plain is not None  # or the call would not be in place
        node.target = plain
    return True


def _plain_function(function: Any) -> Callable[..., Any] | None:
    """`torch.relu` for `torch.relu_`, `+` for `+=`; None where `function` is not in place."""
    name = getattr(function, "__name__", "")
    if function in AUGMENTED or not _says_in_place(name):
        return AUGMENTED.get(function)
    return getattr(torch, name[:-1], None) or getattr(F, name[:-1], None)


def _says_in_place(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")


def _redirect_later_uses(
    node: fx.Node, name: str, storage: dict[fx.Node, fx.Node], order: dict[fx.Node, int]
) -> None:
    """Let all that reads a tensor after it was changed in place read what it was changed to."""
    changed = node.args[0] if node.args else node.kwargs.get("input")
    if not isinstance(changed, fx.Node):
        return
    if changed.op == "get_attr":
        raise UnsupportedOperationError(
            f"{name}: it changes the model's own tensor '{changed.target}' in place, and "
            f"converted networks hold no state; expected an operation on an activation. Repair: "
            f"use the out-of-place form"
        )
    aliases = [n for n, root in storage.items() if root is storage[changed] and n is not changed]
    for alias in aliases:
        late = [user for user in alias.users if order[user] > order[node] and alias is not node]
        if late and order[alias] < order[node]:
            raise UnsupportedOperationError(
                f"{name}: it changes in place a tensor that {describe(late[0])} still "
                f"reads through another name (a view). Repair: use the out-of-place form there"
            )
    changed.replace_all_uses_with(
        node, delete_user_cb=lambda user: user is not node and order[user] > order[node]
    )


def _storage_roots(graph: fx.Graph, kinds: Mapping[fx.Node, str]) -> dict[fx.Node, fx.Node]:
    """For each node, one node that stands for all whose memory it may share.

    Sizes are numbers, and have no memory: `h.view(x.size(0), -1)` shares that of h alone.
    """
    roots: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        roots[node] = node
        if _may_share_memory(node):
            sources = [source for source in node.all_input_nodes if kinds[source] != "shape"]
            joined = {roots[n] for n in (sources[:1] if _changes_in_place(node) else sources)}
            for other, root in roots.items():
                if root in joined:
                    roots[other] = node
    return roots


def _may_share_memory(node: fx.Node) -> bool:
    """Whether the result may be a view of an input: so unless it is known to be new memory."""
    if is_shape_query(node) or node.op in ("placeholder", "get_attr", "output"):
        return False
    if _changes_in_place(node):
        return True
    key = key_at(node)
    if node.op == "call_module":
        return key != "" and key not in ops.ALLOCATING
    new = node.target in _ALLOCATING or node.target in MAX_POOL_FUNCTIONS
    return not (new or key in ops.ALLOCATING)


def _changes_in_place(node: fx.Node) -> bool:
    if node.op == "call_method":
        return _says_in_place(str(node.target))
    if node.op == "call_module":
        return bool(getattr(module_of(node), "inplace", False))
    if node.op != "call_function":
        return False
    plain = _plain_function(node.target)
    return plain is not None or bool(node.kwargs.get("inplace"))
