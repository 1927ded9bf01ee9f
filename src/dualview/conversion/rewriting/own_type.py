"""Types that a forward names become the network's own, and tensors made like others constants.

`torch.zeros(x.shape[0], 8)` and `h.float()` say float32. Where that is the network's own type they
are followed by an `OwnType`, so that copies which compute in float64 do so throughout.
`torch.zeros_like(h)` and `h.new_zeros(2, 3)` read of `h` a shape, a type and a device, and no
numbers, so that they are constants like `torch.zeros(h.shape)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from dualview.conversion.own_type import OwnType
from dualview.conversion.signal_path import is_embedding

_OWN = "own_type"
"""Of the submodule, where the model has none of that name."""

_MAKERS = (torch.zeros, torch.ones, torch.eye, torch.linspace, torch.logspace)
"""What makes a tensor of numbers alone, floating-point ones if no type is named."""

_OF_THEIR_NUMBERS = (torch.full, torch.arange)
"""The same, of the type that its numbers have."""

_LIKE: dict[Any, Callable[..., Tensor]] = {
    torch.zeros_like: torch.zeros,
    torch.ones_like: torch.ones,
    torch.full_like: torch.full,
    "new_zeros": torch.zeros,
    "new_ones": torch.ones,
    "new_full": torch.full,
}
"""The same, of a tensor's type -> without the tensor."""

_CASTS = {
    "float": torch.float32,
    "double": torch.float64,
    "half": torch.float16,
    "bfloat16": torch.bfloat16,
}


def follow_own_type(module: fx.GraphModule, kinds: Mapping[fx.Node, str]) -> None:
    """Rewrite what names the floating-point type that all of the module's tensors have.

    Nothing is rewritten where they have several, or none.
    """
    types = {t.dtype for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()}
    if len(types) != 1:
        return
    (own,) = types
    takes_indices = any(is_embedding(node) for node in module.graph.nodes)
    for node in list(module.graph.nodes):
        if kinds.get(node) == "data" and node.target in _LIKE and not takes_indices:
            _without_tensor(node, own)
        if _makes(node, own) or _casts(node, own):
            _follow(module, node, own)


def _without_tensor(node: fx.Node, own: torch.dtype) -> None:
    """Let a tensor that is made like one of the network's type be made of numbers alone."""
    given = _arguments(node)
    if given.get("layout") not in (None, torch.strided):
        return
    if "size" not in given:
        with node.graph.inserting_before(node):
            given["size"] = node.graph.call_function(getattr, (given["input"], "shape"))
    node.op, node.target = "call_function", _LIKE[node.target]
    node.args = tuple(given[name] for name in ("size", "fill_value") if name in given)
    node.kwargs = {"dtype": given.get("dtype") or own}


def _arguments(node: fx.Node) -> dict[str, Any]:
    """Arguments by name."""
    like, *rest = node.args if node.args else (node.kwargs["input"],)
    if node.op == "call_function":
        names = ["fill_value"]
    elif node.target == "new_full":
        names = ["size", "fill_value"]
    else:
        names = ["size"]
        if len(rest) > 1:
            rest = [tuple(rest)]
    return {**node.kwargs, "input": like, **dict(zip(names, rest, strict=False))}


def _makes(node: fx.Node, own: torch.dtype) -> bool:
    """Whether a node makes a tensor of numbers alone, of the network's type."""
    if node.op != "call_function" or node.target not in (*_MAKERS, *_OF_THEIR_NUMBERS):
        return False
    named = node.kwargs.get("dtype")
    if named is not None:
        return named is own
    numbers = (*node.args, *node.kwargs.values())
    return node.target in _MAKERS or any(isinstance(number, float) for number in numbers)


def _casts(node: fx.Node, own: torch.dtype) -> bool:
    """Whether a node casts a tensor to the network's type."""
    if node.op != "call_method":
        return False
    if node.target in ("to", "type"):
        return any(value is own for value in (*node.args[1:], *node.kwargs.values()))
    return _CASTS.get(str(node.target)) is own


def _follow(module: fx.GraphModule, node: fx.Node, own: torch.dtype) -> None:
    """Put an `OwnType` behind a tensor that is made, and in the place of a cast."""
    name = _OWN
    while not isinstance(getattr(module, name, OwnType(own)), OwnType):
        name += "_"
    if not hasattr(module, name):
        module.add_submodule(name, OwnType(own))
    source: Any = node.args[0] if node.op == "call_method" else node
    with module.graph.inserting_after(node):
        followed = module.graph.call_module(name, (source,))
    followed.stack_trace, followed.meta = node.stack_trace, dict(node.meta)
    node.replace_all_uses_with(followed, delete_user_cb=lambda user: user is not followed)
    if node.op == "call_method":
        module.graph.erase_node(node)
