"""What a forward computes anew at each call though no input changes it: masks of windows, grids.

A captured program shows every step of that, often in place on parts of a fresh tensor. The steps
are run once, here, and what the rest of the program reads of them become constants.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

_FRESH: dict[str, float] = {
    "empty": 0,
    "zeros": 0,
    "ones": 1,
    "new_empty": 0,
    "new_zeros": 0,
    "new_ones": 1,
    "zeros_like": 0,
    "ones_like": 1,
}
"""Operations that make a tensor of one number, whatever tensor they are given."""

Constants = dict[tuple[fx.Node, fx.Node], Any]
"""Reading node and constant node -> the constant's value when it is read."""


def constants_of(program: ExportedProgram) -> tuple[Constants, frozenset[fx.Node]]:
    """The constants that the program computes, and the nodes that compute them and no more."""
    lifted = {
        spec.arg.name: program.constants[spec.target]
        for spec in program.graph_signature.input_specs
        if spec.kind is InputKind.CONSTANT_TENSOR and spec.target is not None
    }
    mixed: set[int] = set()
    while True:  # until no memory that holds a constant is written by what depends on the input
        run = _Run(lifted, mixed)
        for node in program.graph.nodes:
            run.step(node)
        if run.mixed <= mixed:
            return run.read, frozenset(run.values)
        mixed = mixed | run.mixed


class _Run:
    """Runs the constant nodes of a program in order.

    Memory is told by the number of the node that made it, since every run makes it anew.
    """

    def __init__(self, lifted: dict[str, Tensor], mixed: set[int]) -> None:
        self._lifted = lifted
        self._excluded = mixed
        self._made: dict[int, int] = {}
        self._held: list[Any] = []  # so that no memory is given out twice
        self._number = 0
        self.mixed: set[int] = set()
        self.values: dict[fx.Node, Any] = {}
        self.read: Constants = {}

    def step(self, node: fx.Node) -> None:
        self._number += 1
        if node.op == "placeholder" and node.name in self._lifted:
            self._keep(node, self._lifted[node.name].detach().clone())
        elif node.op == "call_function" and self._is_fresh(node):
            self._keep(node, self._fresh(node))
        elif node.op == "call_function" and self._reads_constants_alone(node):
            args, kwargs = fx.map_arg((node.args, node.kwargs), self.values.__getitem__)
            assert callable(node.target)  # of a call_function
            with torch.no_grad():
                self._keep(node, node.target(*args, **kwargs))
        else:
            self._reads(node)

    def _keep(self, node: fx.Node, value: Any) -> None:
        self._held.append(value)
        parts = value if isinstance(value, tuple | list) else (value,)
        for part in (part for part in parts if isinstance(part, Tensor)):
            memory = part.untyped_storage()._cdata
            if self._made.setdefault(memory, self._number) in self._excluded:
                return
        self.values[node] = value

    def _is_fresh(self, node: fx.Node) -> bool:
        shape = node.meta["val"].shape if isinstance(node.meta.get("val"), Tensor) else None
        known = shape is not None and all(isinstance(size, int) for size in shape)
        return known and _name(node) in (*_FRESH, "full", "new_full", "full_like", "arange")

    def _fresh(self, node: fx.Node) -> Tensor:
        name, like = _name(node), node.meta["val"]
        options: Any = {"dtype": like.dtype, "device": like.device}
        if name == "arange":
            bounds: Any = node.args
            return torch.arange(*bounds, **options)
        number: Any = _FRESH[name] if name in _FRESH else node.args[1 if name == "full" else -1]
        return torch.full(tuple(like.shape), number, **options)

    def _reads_constants_alone(self, node: fx.Node) -> bool:
        sources = node.all_input_nodes
        fixed = hasattr(node.target, "_schema") and not _is_random(node)
        return bool(sources) and fixed and all(source in self.values for source in sources)

    def _reads(self, node: fx.Node) -> None:
        """Note what `node`, which depends on the input, reads, and what it writes over."""
        schema: Any = getattr(node.target, "_schema", None)
        for number, source in enumerate(node.args if schema else ()):
            written = schema.arguments[number].alias_info
            value = self.values.get(source) if isinstance(source, fx.Node) else None
            if isinstance(value, Tensor) and written is not None and written.is_write:
                self.mixed.add(self._made[value.untyped_storage()._cdata])
        for source in node.all_input_nodes:
            if source in self.values:
                value = self.values[source]
                if isinstance(value, Tensor):  # one with a history could not be copied
                    value = value.detach().clone()
                self.read[node, source] = value


def _name(node: fx.Node) -> str:
    schema = getattr(node.target, "_schema", None)
    return schema.name.split("::")[1] if schema else ""


def _is_random(node: fx.Node) -> bool:
    target: Any = node.target
    return torch.Tag.nondeterministic_seeded in target.tags
