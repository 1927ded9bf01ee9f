"""A weights network run once, with some nodes' values replaced, watched, or taken as variables.

With gates and switches fixed the network is affine, and so is every operation in it. That holds for
any operation that a network may consist of, so nothing here depends on which there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from dualview.path_attribution.building import ExactRun, data_nodes, run_node
from dualview.path_attribution.example import OneExample, checked_output, output_node

Change = Callable[[Tensor], Tensor]


class AffineRun(ExactRun):
    """One run of an example's weights network.

    Args:
        example: gates fixed.
        changes: node -> what to do to its value before others read it.

    Attributes:
        values: node -> its value, changed.
        result: the network's output.

    Raises:
        PathKernelError: the network returns several tensors.
    """

    def __init__(self, example: OneExample, changes: Mapping[fx.Node, Change]) -> None:
        super().__init__(example)
        self.changes = changes
        output_node(example.network)
        self.result: Tensor = super().run(*example.arguments)

    def entry(self, output: int) -> int:
        """`output` as a flat position in the result, or a PathKernelError."""
        return checked_output(output, self.result.shape)

    def run_node(self, n: fx.Node) -> Any:
        """Run one node; called by torch.fx."""
        value = super().run_node(n)
        self.values[n] = self.changes[n](value) if n in self.changes else value
        return self.values[n]


def value_with(example: OneExample, output: int, changes: Mapping[fx.Node, Change]) -> float:
    """One output of the network with some values changed."""
    with torch.no_grad():
        return float(AffineRun(example, changes).result.reshape(-1)[output])


def offsets(example: OneExample, values: Mapping[fx.Node, Any]) -> dict[fx.Node, Tensor]:
    """What each operation adds to its value on its own, where it adds anything: the biases.

    It is the operation's value when all that depends on the input is 0.
    """
    found = {}
    data = data_nodes(example.network.graph, values)

    def without_data(node: fx.Node) -> Any:
        if node not in data:
            return values[node]
        return pytree.tree_map_only(Tensor, torch.zeros_like, values[node])

    for node in data:
        if node.op == "placeholder" or node is example.input_node:
            continue
        args, kwargs = fx.map_arg((node.args, node.kwargs), without_data)
        with torch.no_grad():
            value = run_node(example.network, node, args, kwargs)
        if isinstance(value, Tensor) and bool(value.any()):
            found[node] = value
    return found
