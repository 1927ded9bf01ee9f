"""How large one example makes a network: numbers held and products taken, before any is computed.

Shapes are those of a run on meta tensors, which hold no numbers. Small examples, and those of
networks whose operations need numbers, are run themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from dualview.conversion.gated_network import GatedNetwork
from dualview.conversion.modes import evaluation_mode
from dualview.conversion.shape_run import ShapeRun, call_on_meta, on_meta
from dualview.errors import DualviewError

RUN_BELOW = 10_000
"""Numbers of an example up to which a run takes less than what meta tensors need to be loaded."""


@dataclass(frozen=True)
class ExampleSize:
    """What one example takes, counted in numbers.

    Attributes:
        gates: all gates, switches and multipliers.
        values: all values of the weights network, gates left out.
        largest: the largest value of either network.
        products: multiplications by weights in the weights network, for all positions.
    """

    gates: int
    values: int
    largest: int
    products: int


def example_size(net: GatedNetwork, x: Tensor) -> ExampleSize:
    """The size of one example of a batch (1, ...), in evaluation mode.

    >>> from torch import nn
    >>> from dualview.conversion.disentangling import disentangle
    >>> net = disentangle(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    >>> example_size(net, torch.ones(1, 4))
    ExampleSize(gates=8, values=22, largest=8, products=48)
    """
    with evaluation_mode(net), torch.no_grad():
        if x.numel() < RUN_BELOW:
            return _measured(net, net.transformed(x), fx.Interpreter)
        try:
            transform = net.input_transform
            z = on_meta(x) if transform is None else call_on_meta(transform, (x,), {})
            return _measured(net, z, ShapeRun)
        except Exception:  # an operation without shapes of its own
            return _measured(net, net.transformed(x), fx.Interpreter)


def refuse_beyond(
    memory: float, needed: float, seconds: float, error: type[DualviewError], *, what: str
) -> None:
    """Refuse work that would hold more than `memory` bytes, before it begins.

    Raises:
        DualviewError: of the class given, with what is needed and for how long it would run.
    """
    if needed > memory:
        raise error(
            f"memory: expected at least {needed:,.0f} bytes for {what}, which takes about "
            f"{seconds:.1g} s; got {memory:,.0f}. Repair: memory={1.1 * needed:.1e}, or a smaller "
            f"example"
        )


def _measured(net: GatedNetwork, z: Tensor, kind: type[fx.Interpreter]) -> ExampleSize:
    gating = _Sizes(kind, net.gating_network)
    given = gating.run(z)
    gates = tuple(given[layer] for layer in net.gate_order)
    weights = _Sizes(kind, net.weights_network)
    weights.run(z, *gates, *given[net.n_gates :])
    return ExampleSize(
        _numbers(given), weights.total, max(gating.largest, weights.largest), weights.products
    )


class _Sizes:
    """Runs a network, and counts what its nodes make."""

    def __init__(self, kind: Any, network: fx.GraphModule) -> None:
        self.total = self.largest = self.products = 0
        counts = self

        class Counting(kind):
            def run_node(self, n: fx.Node) -> Any:
                value = super().run_node(n)
                counts.take(n, value, network)
                return value

        self._run = Counting(network)
        self._run.extra_traceback = False

    def run(self, *arguments: Any) -> Any:
        """The network's output."""
        return self._run.run(*arguments)

    def take(self, node: fx.Node, value: Any, network: fx.GraphModule) -> None:
        """Count a node's value."""
        if node.op == "output" or (node.op == "placeholder" and node.target != "x"):
            return
        size = _numbers(value)
        self.largest = max(self.largest, size)
        self.total += size
        module: Any = network.get_submodule(str(node.target)) if node.op == "call_module" else None
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.dim() > 1:
            self.products += size * math.prod(weight.shape[1:])


def _numbers(value: Any) -> int:
    return sum(leaf.numel() for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor))
