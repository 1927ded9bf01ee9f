"""A weights network run once on random numbers, with every node's value kept.

It tells which nodes depend on the input and what shapes they have, and gives numbers against which
a scalar graph is checked. The network is a private copy, float64, in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dualview.conversion.weights_graph import one_row_of_ones

BatchNormMode = Literal["model", "scale", "identity"]
"""What of batch norm's constants is kept: scale and mean, the scale, or neither."""

Windows = Callable[[Sequence[int]], Tensor]
"""(positions...) -> booleans (pooled positions, positions): which positions each window holds."""


@dataclass(frozen=True)
class RandomRun:
    """One run of a network on random numbers, with random weights.

    `of` holds every node's value by name, `data` the tensor nodes that depend on x after x itself,
    `weights` the trained parameters by name (batch norm's scale is a constant, not a weight), of
    which `random` keeps the numbers of that run, since listing the edges overwrites them. `names`
    finds a weight's name by identity; `windows` is handed on from the caller.
    """

    of: dict[str, Any]
    data: list[fx.Node]
    names: dict[int, str]
    weights: dict[str, nn.Parameter]
    random: dict[str, Tensor]
    windows: Mapping[str, Windows]


class _Recorder(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.of: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.of[n.name] = value.clone() if isinstance(value, Tensor) else value
        return value


def random_run(
    own: fx.GraphModule, inputs: Mapping[str, Tensor], windows: Mapping[str, Windows]
) -> RandomRun:
    """Run `own`, whose parameters are overwritten, on random values shaped like `inputs`.

    Switches (integers) are taken as they are.
    """
    generator = torch.Generator().manual_seed(0)

    def random(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=torch.float64)

    scales = {id(norm.weight) for norm in _batch_norms(own)}
    parameters = dict(own.named_parameters(remove_duplicate=True))
    weights = {name: p for name, p in parameters.items() if id(p) not in scales}
    for weight in weights.values():
        weight.copy_(random(weight))
    recorder = _Recorder(own)
    placeholders = [n for n in own.graph.nodes if n.op == "placeholder"]
    arguments = [inputs[str(n.target)] for n in placeholders]
    recorder.run(*(random(a) if a.is_floating_point() else a for a in arguments))
    of = recorder.of | {str(n.target): recorder.of[n.name] for n in placeholders}
    if any(n.target is one_row_of_ones for n in own.graph.nodes):
        of["x"] = torch.ones_like(of["x"])
    names = {id(weight): name for name, weight in weights.items()}
    kept = {name: weight.detach().clone() for name, weight in weights.items()}
    return RandomRun(of, _data_nodes(own, of), names, weights, kept, windows)


def _data_nodes(own: fx.GraphModule, of: Mapping[str, Any]) -> list[fx.Node]:
    """Tensor nodes that depend on x; a tuple of tensors is passed through, not listed."""
    reached: set[fx.Node] = set()
    data = []
    for node in own.graph.nodes:
        if is_input(node):
            reached.add(node)
        if node.op in ("placeholder", "output") or not reached.intersection(node.all_input_nodes):
            continue
        if isinstance(of[node.name], Tensor):
            data.append(node)
        if isinstance(of[node.name], Tensor) or _is_tuple_of_tensors(of[node.name]):
            reached.add(node)
    return data


def is_input(node: fx.Node) -> bool:
    """Whether `node` is the placeholder of x."""
    return node.op == "placeholder" and node.target == "x"


def _is_tuple_of_tensors(value: Any) -> bool:
    return isinstance(value, tuple | list) and any(isinstance(v, Tensor) for v in value)


def _batch_norms(own: fx.GraphModule) -> Iterator[_BatchNorm]:
    return (module for module in own.modules() if isinstance(module, _BatchNorm))


def simplify_batch_norm(own: fx.GraphModule, mode: BatchNormMode) -> None:
    """Set the statistics and scales of every batch norm, in place: "model" leaves them alone."""
    for norm in _batch_norms(own):
        if mode != "model" and norm.running_mean is not None:
            norm.running_mean.zero_()
        if mode == "identity" and norm.running_var is not None:
            norm.running_var.fill_(1 - norm.eps)
        if mode == "identity" and norm.weight is not None:
            norm.weight.fill_(1)
