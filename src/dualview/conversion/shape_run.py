"""A graph network run on shapes alone: on meta tensors, which hold no numbers and cost nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree


class ShapeRun(fx.Interpreter):
    """Runs a network whose parameters and arguments are taken for their shapes.

    Some operations cannot do without numbers; they raise what they raise.

    >>> network = fx.symbolic_trace(nn.Conv2d(3, 8, 3))
    >>> ShapeRun(network).run(torch.zeros(2, 3, 224, 224)).shape
    torch.Size([2, 8, 222, 222])
    """

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.extra_traceback = False

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The network's output, as meta tensors."""
        with torch.no_grad():
            return super().run(*on_meta(args), **kwargs)

    def fetch_attr(self, target: str) -> Any:
        """A module, or a tensor as a meta tensor; called by torch.fx."""
        return on_meta(super().fetch_attr(target))

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Call a module with meta tensors in place of its own; called by torch.fx."""
        module = self.fetch_attr(target)
        return call_on_meta(module, args, kwargs)


def call_on_meta(module: nn.Module, args: Any, kwargs: Any) -> Any:
    """Call a module with meta tensors in place of its own."""
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return functional_call(module, on_meta(own), on_meta(args), on_meta(kwargs))


def on_meta(value: Any) -> Any:
    """A structure whose tensors are meta tensors of the same shapes and types."""
    return pytree.tree_map_only(Tensor, lambda tensor: tensor.detach().to("meta"), value)


def twin(module: nn.Module, convert: Callable[[Tensor], Tensor]) -> nn.Module:
    """The module with other tensors in place of its parameters and buffers; it shares the rest."""

    def converted(tensors: dict[str, Any]) -> dict[str, Any]:
        return {name: None if t is None else convert(t) for name, t in tensors.items()}

    made = copy.copy(module)
    made._parameters = converted(module._parameters)
    made._buffers = converted(module._buffers)
    made._modules = {
        name: None if child is None else twin(child, convert)
        for name, child in module._modules.items()
    }
    return made
