"""One ONNX operation on its way into a torch.fx graph: its inputs, its options, what it may ask.

A value is a node of the graph (it depends on the network's input), a constant tensor, or `Sizes`:
whole numbers of which some are only known once the network is called, as the number of examples is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from dualview.errors import UnsupportedOperationError


@dataclass(frozen=True)
class Sizes:
    """A vector of whole numbers, or one number, each known now or a node of the graph."""

    entries: tuple[int | fx.Node, ...]
    scalar: bool = False


OnnxValue = fx.Node | Tensor | Sizes
Dims = tuple[int | None, ...]
"""The sizes of a value; None where a size is free."""


@dataclass(frozen=True)
class OnnxCall:
    """An operation with its inputs.

    Attributes:
        op: its name: "Conv".
        name: of the node in the file, or of its first output.
        inputs: None where an optional one is left out.
        options: the node's attributes by name.
        outputs: how many of its outputs have a name.
        dims: sizes of each input, and then of the outputs, as far as they can be inferred; None
            where not even their number is known.
        builder: what the graph is built with.
    """

    op: str
    name: str
    inputs: tuple[OnnxValue | None, ...]
    options: dict[str, Any]
    outputs: int
    dims: tuple[Dims | None, ...]
    builder: Any

    @property
    def x(self) -> Any:
        """The first input, as the graph takes it."""
        return self.operand(0)

    def given(self, index: int) -> bool:
        """Whether an input is not left out."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def operand(self, index: int) -> Any:
        """An input as an argument of a call: a node or, for a single constant, a number."""
        return self.builder.operand(self.inputs[index], rank=self._rank_beside(index))

    def _rank_beside(self, index: int) -> int:
        ranks = [len(dims) for k, dims in enumerate(self.dims) if k != index and dims is not None]
        return max(ranks, default=1)

    def constant(self, index: int) -> Tensor:
        """An input that must be known when the file is read."""
        value = self.inputs[index]
        if isinstance(value, Tensor):
            return value
        raise self.refused(f"its input {index + 1} is computed from the network's input")

    def numbers(self, index: int, default: Any = None) -> Any:
        """Whole numbers that must be known, as a list; `default` where they are left out."""
        if not self.given(index):
            return default
        return [int(number) for number in self.constant(index).flatten()]

    def parameter(self, index: int) -> nn.Parameter | Tensor | None:
        """A weight for a layer: the one tensor of the file, shared by all that read it."""
        if not self.given(index):
            return None
        return self.builder.parameter(self.constant(index))

    def sizes(self, index: int) -> tuple[int | fx.Node, ...]:
        """Whole numbers, of which some may be known at a call only."""
        value = self.inputs[index]
        if isinstance(value, Sizes):
            return value.entries
        return tuple(self.numbers(index))

    def known_dims(self) -> Dims:
        """The sizes of the first input, whose number is known."""
        if self.dims[0] is None:
            raise self.refused("the number of axes of its input cannot be inferred from the file")
        return self.dims[0]

    def rank(self) -> int:
        """Number of axes of the first input."""
        return len(self.known_dims())

    def axis(self, default: int) -> int:
        """The option `axis`, counted from the first."""
        axis = int(self.options.get("axis", default))
        return axis if axis >= 0 else axis + self.rank()

    def function(self, target: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> fx.Node:
        """A call of a function, or of a method by its name."""
        graph: fx.Graph = self.builder.graph
        if isinstance(target, str):
            return graph.call_method(target, args, kwargs)
        return graph.call_function(target, args, kwargs)

    def layer(self, module: nn.Module, *args: Any) -> fx.Node:
        """A call of a layer, which becomes part of the network."""
        return self.builder.layer(self.name, module, args or (self.x,))

    def refused(self, reason: str, repair: str = "") -> UnsupportedOperationError:
        """The error that says why the operation is not read."""
        repair = repair or "export the model with other options, or write that part in PyTorch"
        return UnsupportedOperationError(f"{self.op} {self.name!r}: {reason}. Repair: {repair}")


OnnxRule = Callable[[OnnxCall], Any]
"""What stands for an operation: a node, or a tuple of nodes where it has several outputs."""


def scalar_of(value: Tensor) -> float | int | bool:
    """The one number of a tensor."""
    number: float | int | bool = value.reshape(()).item()
    return number


def is_known(entries: tuple[int | fx.Node, ...]) -> bool:
    """Whether no entry waits for a call."""
    return all(isinstance(entry, int) for entry in entries)


def known_or_sizes(entries: tuple[int | fx.Node, ...], scalar: bool = False) -> OnnxValue:
    """A constant where every entry is known."""
    if not is_known(entries):
        return Sizes(entries, scalar)
    numbers = torch.tensor(entries, dtype=torch.long)
    return numbers.reshape(()) if scalar else numbers
