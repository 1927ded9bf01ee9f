"""Maps over positions: pooling, padding, max pools whose choices are given, and shapes."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from dualview.conversion.source_lines import module_of
from dualview.path_kernel.positions import LEADING, PositionMap
from dualview.path_kernel.setting import Arguments, Setting, refuse
from dualview.path_kernel.terms import Term, Value, mapped, settled, some_tensor, with_groups


def map_positions(
    node: fx.Node,
    value: Value,
    function: PositionMap,
    *,
    selects: bool,
    name: Hashable = None,
) -> Value:
    """Every term after a linear map over positions; `selects` as in `terms.mapped`.

    `name` tells maps apart: equal names are equal maps. None: no other node applies this one.
    """
    if value.flat:
        refuse(node, "it moves the positions of a flattened image")
    known = node if name is None else name
    terms = tuple(mapped(t, value, function, known, selects=selects) for t in value.terms)
    example = function(some_tensor(value).new_zeros(1, 1, *value.positions))
    return replace(value, terms=terms, positions=tuple(example.shape[2:]))


def pooling_module(
    node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting
) -> Value:
    """Average pooling, upsampling: a linear map over positions."""
    module: Any = module_of(node)
    return map_positions(node, args[0], module, selects=False, name=repr(module))


def padding_module(
    node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting
) -> Value:
    """Padding of positions by zeros or by copies."""
    module: Any = module_of(node)
    if getattr(module, "value", 0) != 0:
        refuse(node, "it pads with a constant other than 0")
    return map_positions(node, args[0], module, selects=True, name=repr(module))


def pooling_function(
    node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting
) -> Value:
    """Average pooling as a function."""
    function: Any = node.target

    def pool(image: Tensor) -> Tensor:
        return function(image, *args[1:], **kwargs)

    name = (function, repr(args[1:]), repr(kwargs))
    return map_positions(node, args[0], pool, selects=False, name=name)


def mean(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Mean or sum over all positions: global average pooling."""
    value: Value = args[0]
    names = ("dim", "keepdim")
    options = {**dict(zip(names, args[1:], strict=False)), **kwargs}
    dim = options.get("dim")
    axes: list[int] = [dim] if isinstance(dim, int) else list(dim or [])
    rank = 2 + value.dims
    if value.flat or sorted(axis % rank for axis in axes) != list(range(2, rank)):
        refuse(node, "it averages over other axes than all positions")
    total = getattr(node.target, "__name__", node.target) == "sum"

    def over_positions(image: Tensor) -> Tensor:
        inner = tuple(range(2, rank))
        return image.sum(inner, keepdim=True) if total else image.mean(inner, keepdim=True)

    name = "sum" if total else "mean"
    value = map_positions(node, value, over_positions, selects=False, name=name)
    return value if options.get("keepdim", False) else replace(value, flat=True)


def max_pool_switch(
    node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting
) -> Value:
    """A max pool whose choices are given: every channel of every example picks its positions."""
    value, pair = args[:2]
    positions = tuple(pair.left.shape[2:])
    left, right = (side.flatten(2) for side in (pair.left, pair.right))  # (n, c, pooled)
    value = replace(value, terms=tuple(settled(term, value) for term in value.terms))
    terms = tuple(_chosen(term, node, value, left, right, positions) for term in value.terms)
    return replace(value, terms=terms, positions=positions)


def _chosen(
    term: Term,
    node: fx.Node,
    value: Value,
    left: Tensor,
    right: Tensor,
    positions: tuple[int, ...],
) -> Term:
    def pick(factor: Tensor | None, switch: Tensor) -> Tensor | None:
        if factor is None:
            return None
        flat = factor.flatten(2).expand(len(switch), -1, -1)
        return flat.gather(2, switch).reshape(*switch.shape[:2], *positions)

    first, second = pick(term.left, left), pick(term.right, right)
    if term.kernel is None:
        return replace(term, left=first, right=second)
    n1, n2, c, p = len(left), len(right), value.channels, math.prod(value.positions)
    fine = with_groups(term, c)
    flat = fine.reshape(*fine.shape[:LEADING], p, p).expand(-1, n1, n2, c, p, p)

    def axis(size: int, dim: int) -> Tensor:
        shape = [-1 if d == dim else 1 for d in range(5)]
        return torch.arange(size, device=left.device).reshape(shape)

    places = left[:, None, :, :, None], right[:, :, None, :]
    chosen = flat[:, axis(n1, 0), axis(n2, 1), axis(c, 2), *places]
    kernel = chosen.reshape(-1, n1, n2, c, *positions, *positions)
    view = (*term.view, ("switch", node.args[1]))
    return replace(term, kernel=kernel, left=first, right=second, view=view)


def flatten_module(
    node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting
) -> Value:
    """`nn.Flatten` of everything but the examples."""
    module: Any = module_of(node)
    return _flattened(node, args[0], module.start_dim, module.end_dim)


def flatten(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """`torch.flatten(x, 1)`."""
    names = ("start_dim", "end_dim")
    options = {**dict(zip(names, args[1:], strict=False)), **kwargs}
    return _flattened(node, args[0], options.get("start_dim", 0), options.get("end_dim", -1))


def _flattened(node: fx.Node, value: Value, start: int, end: int) -> Value:
    if start != 1 or end not in (-1, 1 + value.dims):
        refuse(node, f"it flattens axes {start} to {end}, not all but the examples")
    return replace(value, flat=True)


def view(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """`view` and `reshape` that flatten an image, or undo that."""
    value: Value = args[0]
    sizes = list(args[1]) if isinstance(args[1], tuple | list) else list(args[1:])
    entries = value.channels * math.prod(value.positions)
    known = math.prod(size for size in sizes[1:] if size != -1)
    inner = tuple(entries // known if size == -1 else size for size in sizes[1:])
    if inner == (value.channels, *value.positions) and value.dims:
        return replace(value, flat=False)
    if inner != (entries,):
        refuse(node, f"it makes {inner} of {(value.channels, *value.positions)}")
    return replace(value, flat=True)


def squeeze(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Value:
    """Dropping the positions that global pooling left."""
    if math.prod(args[0].positions) != 1:
        refuse(node, "it drops an axis that is not a single position")
    return replace(args[0], flat=True)


def shape_query(node: fx.Node, args: Arguments, kwargs: dict[str, Any], setting: Setting) -> Any:
    """Sizes as the first side's examples would have them."""
    value: Value = args[0]
    entries = value.channels * math.prod(value.positions)
    rows = max(len(t.left) if t.left is not None else 1 for t in value.terms)
    inner = (entries,) if value.flat else (value.channels, *value.positions)
    shape = (rows, *inner)
    if node.target == "dim" or args[1:] == ("ndim",):
        return len(shape)
    if args[1:] == ("shape",) or (node.target == "size" and len(args) == 1 and not kwargs):
        return shape
    if node.target == "size":
        return shape[args[1] if len(args) > 1 else kwargs["dim"]]
    return refuse(node, "it reads a property of a tensor")
