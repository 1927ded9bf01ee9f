"""Walks an affine network once, on an input of zeros: offsets and, where there are, kernels.

The values of the walk are the offsets; beside them every value carries its `LocalMap`, or None.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx

from dualview.conversion.normal_form import normal_call
from dualview.conversion.source_lines import describe
from dualview.conversion.verification import value_kinds
from dualview.errors import PrimalFilterError
from dualview.primal.local_maps import LocalMap
from dualview.primal.rules import RULES, MapCall


@dataclass(frozen=True, eq=False)
class Walk:
    """What one walk gives.

    Attributes:
        offsets: the network's value for an input of zeros, without the axis of examples.
        local: the result's kernels; None where no position sees one kernel.
        elements: numbers that all values of one example hold together.
    """

    offsets: Tensor
    local: LocalMap | None
    elements: int


def walk(network: fx.GraphModule, example: Tensor) -> Walk:
    """Walk `network` from an input of zeros like `example` (1, *input shape).

    Raises:
        PrimalFilterError: the network cannot take that shape.
    """
    walker = _Walker(network)
    with torch.no_grad():
        offsets = walker.run(torch.zeros_like(example))
    _check_batches(network, example, offsets)
    return Walk(offsets[0], walker.result, walker.elements)


def _check_batches(network: fx.GraphModule, example: Tensor, offsets: Tensor) -> None:
    """Layers of images take one image without an axis of examples too; find out by two examples."""
    try:
        with torch.no_grad():
            got = tuple(network(torch.cat([example, example])).shape)
    except RuntimeError:
        got = ()
    if (*offsets.shape[:1], *got) != (1, 2, *offsets.shape[1:]):
        raise PrimalFilterError(
            f"input_shape: expected the shape of one example, got {tuple(example.shape[1:])}, of "
            f"which the network makes no axis of examples. Repair: x.shape[1:], channels included"
        )


class _Walker(fx.Interpreter):
    """Runs the graph, and its rules beside it."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.extra_traceback = False
        self.kinds = value_kinds(network.graph)
        self.maps: dict[fx.Node, LocalMap | None] = {}
        self.result: LocalMap | None = None
        self.elements = 0

    def run_node(self, n: fx.Node) -> Any:
        try:
            value = super().run_node(n)
        except Exception as error:
            values = [self.env[source] for source in n.all_input_nodes]
            got = ", ".join(str(tuple(v.shape)) for v in values if isinstance(v, Tensor))
            raise PrimalFilterError(
                f"{describe(n)}: it cannot take a value of shape {got} ({error}). Repair: give the "
                f"input_shape of one example, such as x.shape[1:]"
            ) from error
        if n.op == "output":
            self.result = self.maps[n.all_input_nodes[0]]
        elif self.kinds[n] == "data":
            self.maps[n] = self._map(n, value)
            self.elements += value.numel() if isinstance(value, Tensor) else 0
        for done in self.user_to_last_uses.get(n, ()):
            self.maps.pop(done, None)
        return value

    def _map(self, node: fx.Node, value: Any) -> LocalMap | None:
        if not isinstance(value, Tensor) or value.dim() < 3:
            return None
        if node.op == "placeholder":
            return LocalMap.of_input(value)
        call = normal_call(node)
        rule = RULES.get(call.key)
        sources = [s for s in node.all_input_nodes if self.kinds[s] == "data"]
        if rule is None or any(self.maps[source] is None for source in sources):
            return None
        arguments = fx.map_arg(dict(call.arguments), self._argument)
        result = rule(MapCall(replace(call, arguments=arguments), tuple(value.shape[2:])))
        if result is None or result.shape != value.shape[1:]:  # broadcasting has no rule
            return None
        depends_on_size = any(self.kinds[source] == "shape" for source in node.all_input_nodes)
        return replace(result, resizable=result.resizable and not depends_on_size)

    def _argument(self, node: fx.Node) -> Any:
        return self.maps[node] if self.kinds[node] == "data" else self.env[node]
