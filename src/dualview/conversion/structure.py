"""What a network is, its numbers aside: operations, their options, the shapes of their tensors.

Two networks with one outline compute the same function of their parameters and buffers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import fx, nn

from dualview.conversion.source_lines import attribute_of, module_of, operation_name


def outline(network: fx.GraphModule) -> list[str]:
    r"""A line for each operation of the graph: what it is, what it reads, options and shapes.

    >>> class Line(nn.Module):
    ...     def forward(self, x):
    ...         return 2 * x.flatten(1)
    >>> print(*outline(fx.symbolic_trace(Line())), sep="\n")
    %0 placeholder x () {}
    %1 flatten (%0, 1) {}
    %2 mul (2, %1) {}
    %3 output (%2,) {}
    """
    order = {node: _Name(f"%{k}") for k, node in enumerate(network.graph.nodes)}
    return [_line(node, order) for node in network.graph.nodes]


def plain_options(module: nn.Module) -> dict[str, Any]:
    """The options of a module that are numbers, texts, None or lists of them, by name.

    >>> plain_options(nn.Flatten())
    {'end_dim': -1, 'start_dim': 1}
    """
    return {
        name: value
        for name, value in sorted(vars(module).items())
        # Underscored entries are torch's own; `training` is a mode.
        if not name.startswith("_") and name != "training" and _is_plain(value)
    }


class _Name(str):
    """A node's name, which stands without quotes among the arguments."""

    def __repr__(self) -> str:
        return str(self)


def _line(node: fx.Node, order: dict[fx.Node, _Name]) -> str:
    what = node.op if node.op in ("placeholder", "output", "get_attr") else operation_name(node)
    target = f" {node.target}" if node.op in ("placeholder", "get_attr", "call_module") else ""
    arguments = fx.map_arg((node.args, node.kwargs), order.__getitem__)
    return " ".join((f"{order[node]} {what}{target} {arguments[0]} {arguments[1]}", *_parts(node)))


def _parts(node: fx.Node) -> Iterator[str]:
    """Options and shapes of the module that is called, or the shape of the tensor that is read."""
    if node.op == "call_module":
        module = module_of(node)
        yield str(plain_options(module))
        for name, tensor in module.state_dict(keep_vars=True).items():
            yield f"{name}{tuple(tensor.shape)}"
    elif node.op == "get_attr":
        yield f"{tuple(attribute_of(node).shape)}"


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
