"""A weights network's graph -> a program: the walk, and what every rule needs to know.

The network is run once on the example, so that every value's shape, and whatever does not depend on
the input, is known. Rules (`step_rules`) then turn one node after the other into steps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from dualview.conversion.source_lines import called, describe
from dualview.conversion.spellings import key_at
from dualview.errors import UnsupportedOperationError
from dualview.path_attribution.example import OneExample
from dualview.path_attribution.steps import Label, Step

Rule = Callable[[fx.Node, "ProgramBuilder"], int]
"""Adds what a node does to the builder's steps; returns the number of the step with its value."""


def refuse(node: fx.Node, reason: str) -> NoReturn:
    """Raise the error for an operation whose paths cannot be followed."""
    raise UnsupportedOperationError(
        f"{describe(node)}: {reason}, so paths cannot be followed through it. Repair: write it "
        f"with dense or convolutional layers, average pooling, batch norm, additions and "
        f"concatenation; layer_contributions and input_contributions take any affine operation"
    )


class ProgramBuilder:
    """The steps so far, and the values that the network had when run on the example."""

    def __init__(self, example: OneExample) -> None:
        self.example = example
        self.steps: list[Step] = []
        self.step_of: dict[fx.Node, int] = {}
        self.values = recorded_values(example)
        self._data = data_nodes(example.network.graph, self.values)

    def add(self, step: Step) -> int:
        """Append a step; its number."""
        self.steps.append(step)
        return len(self.steps) - 1

    def is_data(self, argument: Any) -> bool:
        """Whether `argument` is a node whose value, a tensor, depends on the input."""
        return isinstance(argument, fx.Node) and argument in self._data and self.is_tensor(argument)

    def is_tensor(self, node: fx.Node) -> bool:
        """Whether the node's value is one tensor."""
        return isinstance(self.values[node], Tensor)

    def data_tensors(self) -> list[fx.Node]:
        """Every node whose value is a tensor that depends on the input, in order."""
        return [node for node in self._data if self.is_tensor(node)]

    def source(self, argument: Any) -> int:
        """The number of the step that holds a data node's value."""
        return self.step_of[argument]

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """Shape of a node's value, the axis of examples included."""
        return tuple(self.values[node].shape)

    def label(self, node: fx.Node, kind: Any = "map", layer: str | None = None) -> Label:
        """What the step of `node` is called."""
        return Label(layer or layer_name(node), kind, without_example(self.shape(node)))

    def fixed(self, argument: Any) -> Any:
        """An argument that does not depend on the input, as the value it had."""
        return fx.map_arg(argument, lambda node: self.values[node])

    def array(self, argument: Any, shape: tuple[int, ...]) -> np.ndarray:
        """A number or tensor that does not depend on the input, spread over `shape`, flat."""
        value = torch.as_tensor(self.fixed(argument), dtype=torch.float64)
        return value.expand(shape).reshape(-1).numpy().copy()

    def is_learnt(self, argument: Any) -> bool:
        """Whether a constant argument is computed from parameters."""
        if not isinstance(argument, fx.Node):
            return False
        if argument.op == "get_attr":
            return isinstance(self.values[argument], nn.Parameter)
        return any(self.is_learnt(source) for source in argument.all_input_nodes)

    def sources(self, node: fx.Node) -> list[fx.Node]:
        """The data tensors that `node` reads, also through tuples of tensors, each once."""
        found: dict[fx.Node, None] = {}
        for argument in node.all_input_nodes:
            if self.is_data(argument):
                found[argument] = None
            elif argument in self._data:
                found |= dict.fromkeys(self.sources(argument))
        return list(found)

    def run_on(self, node: fx.Node, stand_ins: Mapping[fx.Node, Tensor]) -> Tensor:
        """The node's value with other tensors in place of the data that it reads, flat.

        What is recursive here are methods: closures that call each other would keep the stand-ins
        until garbage is collected.
        """
        return self._called_on(stand_ins, node).reshape(-1)

    def _called_on(self, stand_ins: Mapping[fx.Node, Tensor], node: fx.Node) -> Any:
        value = functools.partial(self._value_on, stand_ins)
        return run_node(node, *fx.map_arg((node.args, node.kwargs), value))

    def _value_on(self, stand_ins: Mapping[fx.Node, Tensor], argument: fx.Node) -> Any:
        if argument in stand_ins:
            return stand_ins[argument].clone()
        inlined = argument in self._data and not self.is_tensor(argument)
        return self._called_on(stand_ins, argument) if inlined else self.values[argument]


def layer_name(node: fx.Node) -> str:
    """What the layer of a node is called: in the user's model, if it has a name there."""
    return str(node.target) if node.op == "call_module" else node.name


def without_example(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without the axis of examples, of length 1, if there is one."""
    return shape[1:] if shape[:1] == (1,) else shape


def run_node(node: fx.Node, args: Any, kwargs: Any) -> Any:
    """Call what `node` calls, in float64 throughout."""
    if key_at(node) == "same" and node.op != "call_module":  # which names a type
        return args[0] if args else kwargs["input"]
    return called(node, args, kwargs)


class ExactRun(fx.Interpreter):
    """Runs an example's network in float64 throughout, and keeps every node's value."""

    def __init__(self, example: OneExample) -> None:
        super().__init__(example.network, garbage_collect_values=False)
        self.extra_traceback = False

    def run_node(self, n: fx.Node) -> Any:
        """Run one node, unless it only changes the type; called by torch.fx."""
        names_a_type = key_at(n) == "same" and n.op != "call_module"
        return self.env[n.all_input_nodes[0]] if names_a_type else super().run_node(n)


def recorded_values(example: OneExample) -> dict[fx.Node, Any]:
    """Every node's value for the example."""
    run = ExactRun(example)
    with torch.no_grad():
        run.run(*example.arguments)
    return run.env


def data_nodes(graph: fx.Graph, values: Mapping[fx.Node, Any]) -> dict[fx.Node, None]:
    """Nodes with values, tensors or tuples of them, that depend on the input x; in order."""
    found: dict[fx.Node, None] = {}
    for node in graph.nodes:
        reached = node.target == "x" and node.op == "placeholder"
        reached = reached or any(source in found for source in node.all_input_nodes)
        leaves = pytree.tree_leaves(values[node])
        if reached and node.op != "output" and any(isinstance(v, Tensor) for v in leaves):
            found[node] = None
    return found
