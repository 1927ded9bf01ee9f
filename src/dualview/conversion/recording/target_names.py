"""Names of modules and parameters that torch.fx can write into the code it makes of a graph.

PyTorch lets a module be called `lambda`, `a"b` or `graph`; generated Python code does not. Such a
name gets another one in converted networks, the same in each.
"""

from __future__ import annotations

import keyword
import unicodedata
from operator import attrgetter
from typing import Any

from torch import fx, nn

from dualview.errors import TracingError


def speakable(target: str) -> str:
    r"""The name, part by part, by which a converted network knows what the model calls `target`.

    >>> [speakable(name) for name in ("layers.0", "lambda.weight", 'a"b', "graph", "a.graph")]
    ['layers.0', 'lambda_.weight', 'a_b', 'graph_', 'a.graph']
    """
    first, *rest = target.split(".")
    if hasattr(fx.GraphModule, first):
        first += "_"
    return ".".join(_part(part) for part in (first, *rest))


def _part(name: str) -> str:
    if keyword.iskeyword(name):
        return f"{name}_"
    if name.isidentifier():
        return unicodedata.normalize("NFKC", name)  # as Python reads it
    plain = (c if c.isprintable() and c not in '"\\{}' else "_" for c in name)
    return "".join(plain)


def root_of(own: nn.Module, graph: fx.Graph) -> nn.Module | dict[str, Any]:
    """What a graph module of `graph` is made of: `own`, or its parts by names that can be written.

    Raises:
        TracingError: two parts would get one name.
    """
    targets = {str(node.target) for node in _readers(graph)}
    taken: dict[str, str] = {}
    for target in sorted(targets, key=lambda target: target != speakable(target)):
        other = taken.setdefault(speakable(target), target)
        if other != target:
            raise TracingError(
                f"{type(own).__name__}: '{target}' cannot be written in Python, and its plain "
                f"name '{speakable(target)}' is taken by '{other}'. Repair: rename one of them"
            )
    if taken.keys() == targets:
        return own
    return {name: attrgetter(target)(own) for name, target in taken.items()}


def rename(graph: fx.Graph) -> None:
    """Let `graph` call the model's parts by names that can be written."""
    for node in _readers(graph):
        node.target = speakable(str(node.target))


def _readers(graph: fx.Graph) -> list[fx.Node]:
    return [node for node in graph.nodes if node.op in ("call_module", "get_attr")]
