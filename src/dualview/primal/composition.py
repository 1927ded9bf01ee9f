"""Walks an affine network once, on an input of zeros: offsets and, where there are, kernels.

The values of the walk are the offsets; beside them every value carries its `LocalMap`, or None.
Composed kernels may be far larger than any value: on request only their shapes are composed, on
meta tensors, which tells what the kernels themselves would take.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils.flop_counter import FlopCounterMode

from dualview.conversion.memory_meter import MemoryMeter
from dualview.conversion.normal_form import normal_call
from dualview.conversion.shape_run import ShapeRun, on_meta, twin
from dualview.conversion.source_lines import describe
from dualview.conversion.verification import value_kinds
from dualview.errors import PrimalFilterError
from dualview.primal.local_maps import LocalMap, NoInteriorError
from dualview.primal.rules import RULES, MapCall


@dataclass(frozen=True, eq=False)
class Walk:
    """What one walk gives.

    Attributes:
        offsets: the network's value for an input of zeros, without the axis of examples.
        local: the result's kernels; None where no position sees one kernel.
        reach: lengths of the first kernels that no position sees whole, if there were such.
        elements: numbers that all values of one example hold together.
        live: numbers that its values hold at once.
        nbytes: held at once in composing the kernels.
        operations: sums and products of that.
    """

    offsets: Tensor
    local: LocalMap | None
    reach: tuple[int, ...]
    elements: int
    live: int
    nbytes: int
    operations: int


def walk(network: fx.GraphModule, example: Tensor, *, kernels: bool = True) -> Walk:
    """Walk `network` from an input of zeros like `example` (1, *input shape).

    Args:
        network: affine.
        example: its values do not matter.
        kernels: compose kernels, and not their shapes alone.

    Raises:
        PrimalFilterError: the network cannot take that shape.
    """
    walker = _Walker(network, kernels)
    with torch.no_grad():
        offsets = walker.run(torch.zeros_like(example))
    _check_batches(network, example, offsets)
    return Walk(
        offsets[0],
        walker.result,
        walker.reach,
        walker.elements,
        walker.live,
        walker.memory.peak,
        walker.operations,
    )


def operations(network: fx.GraphModule, example: Tensor) -> int:
    """Sums and products of one run on an example (1, *input shape), where shapes alone tell it."""
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            ShapeRun(network).run(example)
    except Exception:  # whatever an operation raises that has no shapes of its own
        return 0  # then nobody is told how long it takes
    return int(counter.get_total_flops() // 2)


def _check_batches(network: fx.GraphModule, example: Tensor, offsets: Tensor) -> None:
    """Layers of images take one image without an axis of examples too; find out by two examples."""
    try:
        got = tuple(_of_two(network, example).shape)
    except RuntimeError:
        got = ()
    if (*offsets.shape[:1], *got) != (1, 2, *offsets.shape[1:]):
        raise PrimalFilterError(
            f"input_shape: expected the shape of one example, got {tuple(example.shape[1:])}, of "
            f"which the network makes no axis of examples. Repair: x.shape[1:], channels included"
        )


def _of_two(network: fx.GraphModule, example: Tensor) -> Tensor:
    """What the network makes of two examples, as a meta tensor where shapes alone tell it."""
    examples = torch.cat([example, example])
    try:
        result: Tensor = ShapeRun(network).run(examples)
    except Exception:  # an operation without shapes of its own, or one that does not take these
        with torch.no_grad():
            result = network(examples)
    return result


class _Walker(fx.Interpreter):
    """Runs the graph, and its rules beside it."""

    def __init__(self, network: fx.GraphModule, kernels: bool) -> None:
        super().__init__(network)
        self.extra_traceback = False
        self.kernels = kernels
        self.memory, self.operations = MemoryMeter(), 0
        self.reach: tuple[int, ...] = ()
        self.live, self.sizes = 0, dict[fx.Node, int]()
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
            try:
                self.maps[n] = self._map(n, value)
            except NoInteriorError as error:
                self.maps[n], self.reach = None, error.lengths
            self.sizes[n] = value.numel() if isinstance(value, Tensor) else 0
            self.elements += self.sizes[n]
            self.live = max(self.live, sum(self.sizes.values()))
        for done in self.user_to_last_uses.get(n, ()):
            self.maps.pop(done, None)
            self.sizes.pop(done, None)
        return value

    def _map(self, node: fx.Node, value: Any) -> LocalMap | None:
        """The local map of a node's value from the input; None where no rule gives one."""
        if not isinstance(value, Tensor) or value.dim() < 3:
            return None
        if node.op == "placeholder":
            return LocalMap.of_input(value if self.kernels else on_meta(value))
        given = normal_call(node)
        rule = RULES.get(given.key)
        sources = [s for s in node.all_input_nodes if self.kinds[s] == "data"]
        if rule is None or any(self.maps[source] is None for source in sources):
            return None
        arguments, module = fx.map_arg(dict(given.arguments), self._argument), given.module
        if not self.kernels:
            arguments = on_meta(arguments)
            module = None if module is None else twin(module, on_meta)
        call = MapCall(given.key, arguments, module, tuple(value.shape[2:]))
        counter = FlopCounterMode(display=False)
        with counter, self.memory:
            result = rule(call)
        self.operations += counter.get_total_flops() // 2
        if result is None or result.shape != value.shape[1:]:  # broadcasting has no rule
            return None
        depends_on_size = any(self.kinds[source] == "shape" for source in node.all_input_nodes)
        return replace(result, resizable=result.resizable and not depends_on_size)

    def _argument(self, node: fx.Node) -> Any:
        return self.maps[node] if self.kinds[node] == "data" else self.env[node]
