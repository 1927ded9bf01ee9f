"""Max pooling taken apart: its average of the same window, and its switch.

A max pool copies one entry of each window. Which one it copies (the *switch*) depends on the
example, as a gate does; given the switch, the pool is linear. Arrays are (examples, channels,
positions...); a switch has the shape of the pooled array and holds flat positions of its input.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from dualview.conversion.leaf import leaf
from dualview.conversion.source_lines import module_of
from dualview.conversion.spellings import functional

Size = int | tuple[int, ...]

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_ADAPTIVE_MAX = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}


def each_axis(option: Any, dims: int) -> tuple[Any, ...]:
    """An option of a layer that is given once, or once for each axis of positions.

    >>> each_axis(3, 2), each_axis([1], 2), each_axis((1, 2), 2)
    ((3, 3), (1, 1), (1, 2))
    """
    values = (option,) if isinstance(option, int | str) else tuple(option)
    return values * dims if len(values) == 1 else values


@dataclass(frozen=True)
class MaxPool:
    """One max-pool call: the number of position axes and the arguments after its input."""

    dims: int
    adaptive: bool
    options: dict[str, Any]

    @property
    def max_function(self) -> Callable[..., Any]:
        """The functional form; call it with `**options`."""
        return (_ADAPTIVE_MAX if self.adaptive else _MAX)[self.dims]

    @property
    def average_function(self) -> Callable[..., Tensor]:
        """Average pooling of the same windows; call it with `**average_options`."""
        return functional("adaptive average pool" if self.adaptive else "average pool", self.dims)

    @property
    def average_options(self) -> dict[str, Any]:
        """The options that average pooling shares: window, stride, padding, ceil mode."""
        return {name: value for name, value in self.options.items() if name != "dilation"}

    @property
    def dilated(self) -> bool:
        """Whether the window has gaps, which average pooling cannot have."""
        dilation = self.options.get("dilation", 1)
        return any(d != 1 for d in (dilation if isinstance(dilation, tuple) else (dilation,)))


def _windowed(
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> dict[str, Any]:
    options = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    return _frozen({"kernel_size": kernel_size, **options}, return_indices)


def _adaptive(output_size: Size, return_indices: bool = False) -> dict[str, Any]:
    return _frozen({"output_size": output_size}, return_indices)


def _frozen(options: dict[str, Any], return_indices: bool) -> dict[str, Any]:
    if return_indices:
        raise ValueError("it returns its indices (return_indices=True)")
    lists = (list, torch.Size)
    return {n: tuple(v) if isinstance(v, lists) else v for n, v in options.items()}


MAX_POOL_FUNCTIONS: dict[Callable[..., Any], tuple[int, bool]] = {
    **{function: (dims, False) for dims, function in _MAX.items()},
    torch.max_pool1d: (1, False),
    torch.max_pool2d: (2, False),
    torch.max_pool3d: (3, False),
    **{function: (dims, True) for dims, function in _ADAPTIVE_MAX.items()},
}
"""Max-pool function -> (number of position axes, adaptive)."""

MAX_POOL_MODULES: dict[type[nn.Module], tuple[int, bool]] = {
    nn.MaxPool1d: (1, False),
    nn.MaxPool2d: (2, False),
    nn.MaxPool3d: (3, False),
    nn.AdaptiveMaxPool1d: (1, True),
    nn.AdaptiveMaxPool2d: (2, True),
    nn.AdaptiveMaxPool3d: (3, True),
}
"""Max-pool module, by exact type -> (number of position axes, adaptive)."""


def is_max_pool(node: fx.Node) -> bool:
    """Whether `node` of a traced graph is a max pool."""
    if node.op == "call_module":
        return type(module_of(node)) in MAX_POOL_MODULES
    return node.op == "call_function" and node.target in MAX_POOL_FUNCTIONS


def max_pool_at(node: fx.Node) -> MaxPool:
    """The max-pool call at `node` of a traced graph.

    Raises:
        ValueError: it returns its indices as a second output.
    """
    if node.op == "call_module":
        return max_pool_of_module(module_of(node))
    kwargs = {name: value for name, value in node.kwargs.items() if name != "input"}
    return max_pool_of_function(node.target, node.args[1:], kwargs)  # type: ignore[arg-type]  # a function


def max_pool_of_module(module: nn.Module) -> MaxPool:
    """The call that `module`, one of `MAX_POOL_MODULES`, makes.

    Raises:
        ValueError: it returns its indices as a second output.
    """
    dims, adaptive = MAX_POOL_MODULES[type(module)]
    read = _adaptive if adaptive else _windowed
    return MaxPool(dims, adaptive, read(**{n: getattr(module, n) for n in _names(read)}))


def max_pool_of_function(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> MaxPool:
    """The call `function(input, *args, **kwargs)` of one of `MAX_POOL_FUNCTIONS`.

    Raises:
        ValueError: it returns its indices as a second output.
    """
    dims, adaptive = MAX_POOL_FUNCTIONS[function]
    read = _adaptive if adaptive else _windowed
    return MaxPool(dims, adaptive, read(*args, **kwargs))


def _names(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


@leaf
def max_pool_switch(value: Tensor, dims: int, adaptive: bool, **options: Any) -> Tensor:
    """Flat position, within its channel of `value`, of each window's largest entry."""
    function = MaxPool(dims, adaptive, options).max_function
    return function(value, **options, return_indices=True)[1]


@leaf
def replay_switch(value: Tensor, switch: Tensor, dims: int) -> Tensor:
    """Copy the entries of `value` that `switch` names: a max pool whose choice is given."""
    if value.shape[0] != switch.shape[0]:  # one row of constant-1 input for all examples
        value = value.expand(switch.shape[0], *value.shape[1:])
    flat = value.flatten(-dims).gather(-1, switch.flatten(-dims))  # (n, c, pooled positions)
    return flat.view(switch.shape)


def switched_pools(gating: fx.Graph) -> dict[str, MaxPool]:
    """The max pool of each switch that a gating graph gives, by the name of the switch."""
    values: Any = next(node for node in gating.nodes if node.op == "output").args[0]
    pools = []
    for node in values:
        if isinstance(node, fx.Node) and node.target is max_pool_switch:
            arguments: Any = node.args  # as `gating_graph` writes them
            _, dims, adaptive = arguments
            pools.append(MaxPool(dims, adaptive, dict(node.kwargs)))
    return {f"switch_{k}": pool for k, pool in enumerate(pools, start=1)}
