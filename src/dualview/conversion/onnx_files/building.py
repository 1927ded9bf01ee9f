"""A torch.fx graph in the making: layers and constants get names, shared weights stay one."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, fx, nn

from dualview.conversion.onnx_files.calls import OnnxValue, Sizes, scalar_of


class Builder:
    """Adds calls to a graph and what they call to `root`."""

    def __init__(self, weights: dict[int, str], examples: int | None = None) -> None:
        """What the file says of the network.

        Args:
            weights: names of the tensors of the file that may be trained, by their `id`.
            examples: the number of examples that the file was written for; None: any.
        """
        self.examples = examples
        self.root = nn.Module()
        self.graph = fx.Graph()
        self._weights = weights
        self._parameters: dict[int, nn.Parameter] = {}
        self._constants: dict[int, str] = {}
        self._kept: list[Tensor] = []  # so that no `id` is given twice

    def layer(self, name: str, module: nn.Module, args: tuple[Any, ...]) -> fx.Node:
        """A call of a layer under a name like `name`."""
        path = self._free(name)
        self.root.add_module(path, module)
        return self.graph.call_module(path, args)

    def operand(self, value: OnnxValue | None, rank: int) -> Any:
        """`value` as an argument: a node, or a number where broadcasting is the same with it."""
        if isinstance(value, Sizes):
            return value.entries[0] if value.scalar else list(value.entries)
        if not isinstance(value, Tensor):
            return value
        if value.numel() == 1 and value.dim() <= rank:
            return scalar_of(value)
        return self._attribute(value)

    def parameter(self, value: Tensor) -> nn.Parameter | Tensor:
        """The parameter that a weight of the file is."""
        return self._parameter_of(value) if value.is_floating_point() else value

    def _parameter_of(self, value: Tensor) -> nn.Parameter:
        if id(value) not in self._parameters:
            self._kept.append(value)
            self._parameters[id(value)] = nn.Parameter(value)
        return self._parameters[id(value)]

    def _attribute(self, value: Tensor) -> fx.Node:
        key = id(value)
        if key not in self._constants:
            self._kept.append(value)
            name = self._free(self._weights.get(key, "constant"))
            if key in self._weights and value.is_floating_point():
                self.root.register_parameter(name, self._parameter_of(value))
            else:
                self.root.register_buffer(name, value)
            self._constants[key] = name
        return self.graph.get_attr(self._constants[key])

    def _free(self, name: str) -> str:
        """A name like `name` that is an identifier and is not taken."""
        stem = identifier(name)
        number, free = 0, stem
        while hasattr(self.root, free):
            number, free = number + 1, f"{stem}_{number + 1}"
        return free


def identifier(name: str) -> str:
    """`name` with other characters than letters and digits replaced.

    >>> identifier("/layer1/conv.weight")
    'layer1_conv_weight'
    """
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "value"
    return f"_{plain}" if plain[0].isdigit() else plain
